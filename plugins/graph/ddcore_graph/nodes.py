"""Nodes: rows of a graph, which know the others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_graph.fixed import FixedGraph
from ddcore_graph.graph import Graph


class Nodes(dd.Items):
    """The nodes ``rows`` (n,), or (e, n) of e nets side by side, of a graph."""

    dtype = torch.float32

    def __init__(self, graph: Graph, rows: Tensor) -> None:
        self.graph, self.rows = graph, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.rows.shape, self.graph.features.shape[1])

    @property
    def nbytes(self) -> int:
        return 4 * self.rows.numel() * self.graph.features.shape[1]

    def __getitem__(self, rows: Any) -> Nodes:
        return Nodes(self.graph, self.rows[rows])

    def plain(self) -> Tensor:
        return self.graph.features[self.rows]

    def propagated(self, hops: int) -> Tensor:
        """Their rows of A^k X (n, d)."""
        return self.graph.propagated(hops)[self.rows]

    def joined(self, others: Sequence[dd.Items]) -> Nodes:
        rows = [other.rows for other in others if isinstance(other, Nodes) and other.graph is self.graph]
        if len(rows) < len(others):
            raise ValueError("Only nodes of one graph can be joined.")
        return Nodes(self.graph, torch.cat([self.rows, *rows]))

    def to(self, device: torch.device) -> Nodes:
        return Nodes(self.graph.to(device), self.rows.to(device))

    def fingerprint(self) -> str:
        """Of the whole graph, whose every node may be heard."""
        graph = self.graph.fingerprint() if isinstance(self.graph, FixedGraph) else ""
        return hashlib.sha256(graph.encode() + self.rows.cpu().numpy().tobytes()).hexdigest()
