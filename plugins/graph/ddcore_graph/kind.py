"""What an item of a graph data set is: a node of one graph, or a graph of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ddcore import plugin as dd
from ddcore_graph.networks import GCN, GraphNet

P = TypeVar("P", bound=dd.Part)

WHOLE = 1_000_000
"""Items of a training step on nodes: all there are."""
RATE = 1e-4
"""The highest learning rate of S by default, in units of a bag of words whose entries sum to one."""


@dataclass(frozen=True)
class Node(dd.ItemKind):
    """A node of one graph, with features (d,); it hears its neighbours."""

    @property
    def network(self) -> dd.NetworkPlan:
        return GCN()

    @property
    def instead(self) -> Mapping[str, dd.Part | None]:
        return {**super().instead, "preprocess": dd.Identity()}

    def paced(self, part: P) -> P:
        """Networks are trained on all nodes at once; S that SGD moves at more than :data:`RATE` is moved by Adam."""
        if isinstance(part, dd.Protocol):
            return replace(part, batch=WHOLE)
        if isinstance(part, dd.Update) and isinstance(part.optimiser, dd.Sgd):
            slow = {name: min(rate, RATE) for name, rate in part.lr.items()}
            return part if slow == part.lr else replace(part, lr=slow, optimiser=dd.Adam())
        return part


@dataclass(frozen=True)
class WholeGraph(dd.ItemKind, name="graph"):
    """A graph by itself: a table (m, d + m) of its nodes' features and of the links between them."""

    @property
    def network(self) -> dd.NetworkPlan:
        return GraphNet()

    @property
    def instead(self) -> Mapping[str, dd.Part | None]:
        return {**super().instead, "preprocess": dd.Identity()}
