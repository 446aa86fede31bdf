"""A graph as it was given: large, and never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

import ddcore
from ddcore_graph.graph import By, Field, Graph, Sparse


class FixedGraph(Graph):
    """A graph of N nodes, its links sorted by the node that hears.

    ``edges`` (2, E) go from the node that is heard to the one that hears, as PyTorch Geometric has them; doubles count
    once, and loops not at all: each node hears itself anyway. ``weights`` (E,) are 1 where not given.

    Raises:
        BadData: a link names a node that is not there.
    """

    def __init__(self, features: Tensor, edges: Tensor, weights: Tensor | None = None) -> None:
        n = len(features)
        if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < n:
            raise ddcore.BadData(f"A link names a node that is not among the {n} of the graph.")
        self._features = features.float()
        weights = torch.ones(edges.shape[1]) if weights is None else weights.float()
        keep = edges[0] != edges[1]
        key, first = _first_of_each((edges[1] * n + edges[0])[keep])
        self._heard, listener = key % n, key // n
        self._weight = weights[keep][first]
        self._starts = torch.zeros(n + 1, dtype=torch.long)
        self._starts[1:] = torch.bincount(listener, minlength=n).cumsum(0)
        self._degree = 1 + torch.zeros(n).index_add(0, listener, self._weight)
        self._place = torch.full((n,), -1)
        self._known: dict[tuple[int, By], Tensor] = {}
        self._elsewhere: dict[torch.device, FixedGraph] = {features.device: self}

    @property
    def features(self) -> Tensor:
        return self._features

    @property
    def device(self) -> torch.device:
        return self._features.device

    def __len__(self) -> int:
        return len(self._features)

    @property
    def edge_index(self) -> Tensor:
        """The links (2, E), from the node that is heard to the one that hears."""
        counts = self._starts.diff()
        return torch.stack([self._heard, torch.arange(len(self), device=self.device).repeat_interleave(counts)])

    @property
    def edge_weight(self) -> Tensor:
        return self._weight

    def to(self, device: torch.device) -> FixedGraph:
        """The graph on ``device``, moved once."""
        if device not in self._elsewhere:
            moved = FixedGraph.__new__(FixedGraph)
            for name, value in vars(self).items():
                setattr(moved, name, value.to(device) if isinstance(value, Tensor) else value)
            moved._known = {key: value.to(device) for key, value in self._known.items()}
            self._elsewhere[device] = moved
        return self._elsewhere[device]

    def alone(self, nodes: Tensor) -> FixedGraph:
        """The nodes (m,) with the links among them alone, numbered anew."""
        place = torch.full((len(self),), -1)
        place[nodes] = torch.arange(len(nodes))
        edges = place[self.edge_index]
        both = (edges >= 0).all(0)
        return FixedGraph(self.features[nodes], edges[:, both], self.edge_weight[both])

    def fingerprint(self) -> str:
        """A hash of features and links."""
        digest = hashlib.sha256()
        for tensor in (self._features, self._heard, self._weight, self._starts):
            digest.update(tensor.cpu().numpy().data)
        return digest.hexdigest()

    def propagated(self, hops: int, by: By = "symmetric") -> Tensor:
        """Computed once and kept."""
        if not hops:
            return self.features
        if (hops, by) not in self._known:
            everyone = torch.arange(len(self), device=self.device)
            listener, heard, weight = self._heard_by(everyone, by, None, None)
            matrix = torch.sparse_coo_tensor(
                torch.stack([listener, heard]), weight, (len(self), len(self)), check_invariants=False
            )
            self._known[hops, by] = torch.sparse.mm(matrix, self.propagated(hops - 1, by))
        return self._known[hops, by]

    def field(self, rows: Tensor, hops: Sequence[By], most: int | None, generator: Generator | None) -> Field:
        nodes, links = rows, []
        for by in reversed(hops):
            listener, heard, weight = self._heard_by(nodes, by, most, generator)
            own = torch.arange(len(nodes), device=self.device)
            self._place[nodes] = own
            new = heard[self._place[heard] < 0].unique()
            self._place[new] = torch.arange(len(nodes), len(nodes) + len(new), device=self.device)
            nodes = torch.cat([nodes, new])
            links.insert(0, Sparse(own, listener, self._place[heard], weight))
            self._place[nodes] = -1
        return Field(nodes, links)

    def _heard_by(
        self, nodes: Tensor, by: By, most: int | None, generator: Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For each link that ends at ``nodes`` (n,): which of them hears, the node that it hears, the weight."""
        counts = self._starts[nodes + 1] - self._starts[nodes]
        told = counts if most is None else counts.clamp_max(most)
        listener = torch.arange(len(nodes), device=self.device).repeat_interleave(told)
        place = torch.arange(len(listener), device=self.device) - (told.cumsum(0) - told)[listener]
        times = torch.ones_like(listener, dtype=torch.float32)
        if most is not None:
            many = counts[listener] > most
            lot = torch.rand(len(listener), generator=generator).to(self.device)
            place = torch.where(many, (lot * counts[listener]).long().clamp_max(counts[listener] - 1), place)
            times = torch.where(many, counts[listener] / most, times)
        link = self._starts[nodes][listener] + place
        heard, weight = self._heard[link], self._weight[link] * times
        if by == "mean":
            total = torch.zeros(len(nodes), device=self.device).index_add(0, listener, weight)
            return listener, heard, weight / total[listener]
        scale = self._degree.rsqrt()
        own = torch.arange(len(nodes), device=self.device)
        weight = torch.cat([weight * scale[nodes][listener] * scale[heard], 1 / self._degree[nodes]])
        return torch.cat([listener, own]), torch.cat([heard, nodes]), weight


def _first_of_each(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The different ``keys`` in order, and where each stands first."""
    found, which = keys.unique(return_inverse=True)
    first = torch.full((len(found),), len(keys)).scatter_reduce(0, which, torch.arange(len(keys)), "amin")
    return found, first
