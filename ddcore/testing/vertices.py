"""Items that are no tensors: vertices of a small graph, with their kind and a network. This module is a plugin.

``Host({"vertices": vertices})`` knows the kind ``vertex``; :func:`tiny_nodes` is data of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ddcore.data import RealData
from ddcore.kinds import ItemKind
from ddcore.marker import hookimpl
from ddcore.networks.base import NetworkPlan
from ddcore.networks.mlp import MLP
from ddcore.parts import Part
from ddcore.preprocess import Identity
from ddcore.store import Items
from ddcore.types import Call, DataCard, Network, WrappedNetwork


class Nodes(Items):
    """Vertices: their own features (n, d), and the mean over their neighbours and themselves."""

    dtype = torch.float32

    def __init__(self, own: Tensor, seen: Tensor) -> None:
        self.own, self.seen = own, seen

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.own.shape)

    def __getitem__(self, rows: Any) -> Nodes:
        return Nodes(self.own[rows], self.seen[rows])

    def plain(self) -> Tensor:
        return self.own

    def joined(self, others: Sequence[Items]) -> Nodes:
        nodes = [self, *(other for other in others if isinstance(other, Nodes))]
        return Nodes(torch.cat([each.own for each in nodes]), torch.cat([each.seen for each in nodes]))


class Propagated(WrappedNetwork):
    """``network`` on what vertices see; items of S that have no edges see themselves."""

    def apply(self, call: Call, x: Any) -> Tensor:
        return self.network.apply(call, x.seen if isinstance(x, Nodes) else x)


@dataclass(frozen=True)
class Propagate(NetworkPlan):
    """An MLP on the mean over a vertex and its neighbours."""

    suits = frozenset({"vertex"})

    def build(self, card: DataCard) -> Network:
        return Propagated(MLP(16, 2).build(card))


@dataclass(frozen=True)
class Vertex(ItemKind):
    """A vertex of a graph: features (d,), and neighbours."""

    @property
    def network(self) -> NetworkPlan:
        return Propagate()

    @property
    def instead(self) -> Mapping[str, Part | None]:
        return {**super().instead, "preprocess": Identity()}


def tiny_nodes() -> RealData:
    """Three communities of 240 vertices (6,), which know their own by ten neighbours each, not by their features."""
    generator = Generator().manual_seed(0)
    targets = torch.arange(3).repeat_interleave(torch.tensor([60, 60, 120]))
    own = 2 * torch.randn(240, 6, generator=generator) + 3 * torch.eye(6)[targets]
    near = torch.zeros(240, 240)
    for node, c in enumerate(targets):
        mine = (targets == c).nonzero().flatten()
        near[node, mine[torch.randperm(len(mine), generator=generator)[:10]]] = 1
    nodes = Nodes(own, (near + torch.eye(240)) @ own / 11)
    train = torch.rand(240, generator=generator) < 0.5
    return RealData.of(
        "graph", (nodes[train], targets[train]), (nodes[~train], targets[~train]), kind="vertex", apart=False
    )


@hookimpl
def ddcore_parts() -> list[type[Part]]:
    return [Propagate, Vertex]
