"""Nodes that are taken from the graph and never changed: the baselines of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.carriers.base import OfNodes, heard_by
from ddcore_graph.carriers.linked import LinkedSet, without_loops
from ddcore_graph.graph import LearnedGraph
from ddcore_graph.nodes import Nodes
from ddcore_graph.picking import centres


@dataclass(frozen=True)
class Taken(OfNodes):
    """Nodes, or means of nodes, that are found at the start."""

    hops: dd.Whole = 2
    """What a node is compared by, and what is kept of it: its row of A^k X with this k."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset()

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"})

    def build(self, card: dd.DataCard) -> TakenModule:
        return TakenModule(self, card)


class TakenModule(dd.CarrierModule):
    features: Tensor

    def __init__(self, plan: Taken, card: dd.DataCard) -> None:
        super().__init__()
        self.plan: Any = plan
        per_class = plan.per_class(card)
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(torch.tensor(per_class)))
        self.register_buffer("features", torch.zeros(sum(per_class), *card.shape))

    def start(self, ctx: dd.Context) -> None:
        for c, wanted in enumerate(self.plan.per_class(ctx.card)):
            self.features[self.classes == c] = self.plan.found(c, wanted, ctx)

    def forward(self, index: Tensor) -> Tensor:
        return self.features[index]

    def nbytes(self) -> int:
        return self.features.nbytes


@dataclass(frozen=True)
class ChosenNodes(Taken):
    """Labelled nodes of each class, without their links."""

    by: Literal["random", "farthest", "herding"] = "random"
    """``random``; ``farthest``, so that they cover their class (k-center); ``herding``, so that their mean follows that
    of the class."""

    def found(self, c: int, wanted: int, ctx: dd.Context) -> Tensor:
        size = wanted if self.by == "random" else None
        (batch,) = ctx.gate.examples([dd.Group(classes=(c,), size=size)])
        heard = heard_by(batch, self.hops)
        if self.by == "random":
            return heard
        covers = self.by == "farthest"
        return heard[dd.farthest(heard, wanted) if covers else dd.herd(heard, heard.mean(0), wanted)]


@dataclass(frozen=True)
class NodeCentres(Taken):
    """Means of equal groups of each class's labelled nodes in A^k X: nothing is trained."""

    def found(self, c: int, wanted: int, ctx: dd.Context) -> Tensor:
        (batch,) = ctx.gate.examples([dd.Group(classes=(c,))])
        return centres(heard_by(batch, self.hops), wanted)


@dataclass(frozen=True)
class CoarseNodes(Taken):
    """Supernodes: every node of the graph joins the nearest of the centres of :class:`NodeCentres`.

    With the membership P (N, n), X' is the mean of X over members, and A'_ij the links between two supernodes over the
    square root of the product of their members, at most 1.

    **Differs**: Huang et al. (KDD 2021) contract neighbourhoods by their spectrum; here the classes of supernodes, and
    so their number in each, are given by the centres.
    """

    def found(self, c: int, wanted: int, ctx: dd.Context) -> Tensor:
        (batch,) = ctx.gate.examples([dd.Group(classes=(c,))])
        return centres(heard_by(batch, self.hops), wanted)

    def build(self, card: dd.DataCard) -> CoarseModule:
        return CoarseModule(self, card)

    def shown(self, distilled: ddcore.DistilledSet) -> Any:
        """The supernodes with their links."""
        return LinkedSet(distilled)


class CoarseModule(TakenModule):
    adjacency: Tensor

    def __init__(self, plan: Taken, card: dd.DataCard) -> None:
        super().__init__(plan, card)
        self.register_buffer("adjacency", torch.zeros(len(self.classes), len(self.classes)))

    def start(self, ctx: dd.Context) -> None:
        super().start(ctx)
        (batch,) = ctx.gate.examples([dd.Group(size=1)])
        graph = cast(Any, batch.inputs).graph
        rows = graph.propagated(self.plan.hops)
        owner = torch.cat([torch.cdist(part, self.features).argmin(1) for part in rows.split(4096)])
        n = len(self.features)
        members = torch.bincount(owner, minlength=n).to(rows)
        total = torch.zeros_like(self.features).index_add(0, owner, graph.features)
        there = members > 0
        self.features[there] = total[there] / members[there, None]
        heard, listener = owner[graph.edge_index]
        links = torch.zeros(n * n).to(rows).index_add(0, listener * n + heard, graph.edge_weight).view(n, n)
        scale = members.clamp_min(1).rsqrt()
        self.adjacency.copy_(without_loops((scale[:, None] * links * scale).clamp_max(1)))

    def forward(self, index: Tensor) -> Any:
        return Nodes(LearnedGraph(self.features, self.adjacency), index)

    def latent(self) -> dict[str, Tensor]:
        return {"adjacency": self.adjacency.cpu().clone()}

    def nbytes(self) -> int:
        return self.features.nbytes + self.adjacency.nbytes
