"""What every carrier of nodes is: so many of each class, and where their features begin."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.nodes import Nodes
from ddcore_graph.picking import centres


def shares(total: int, counts: tuple[int, ...]) -> tuple[int, ...]:
    """``total`` divided among classes in the ratio of ``counts``, by largest remainders, at least one each."""
    whole = sum(counts)
    found = [max(1, total * count // whole) for count in counts]
    order = sorted(range(len(counts)), key=lambda c: (found[c] - total * counts[c] / whole, c))
    for i in range(max(0, total - sum(found))):
        found[order[i % len(order)]] += 1
    while sum(found) > total:
        found[max(range(len(found)), key=lambda c: (found[c], c))] -= 1
    return tuple(found)


@dataclass(frozen=True)
class OfNodes(dd.Carrier):
    """A carrier of nodes."""

    suits = frozenset({"node"})

    nodes: dd.Count | None = None
    """Nodes in all, in the place of ``ipc`` per class."""
    balance: Literal["ratio", "equal"] = "ratio"
    """How classes share them: in the ratio of T, at least one each, or equally."""

    def per_class(self, card: dd.DataCard) -> tuple[int, ...]:
        total = self.nodes or self.budget * card.classes
        return shares(total, card.counts if self.balance == "ratio" else (1,) * card.classes)

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        if self.nodes is not None and self.nodes < card.classes:
            raise ddcore.RecipeRefused(
                f"synthetic.nodes = {self.nodes}, and {card.name} has {card.classes} classes, each of which needs a"
                " node: give at least as many."
            )
        if "examples" not in self.asks:
            return
        for c, (wanted, count) in enumerate(zip(self.per_class(card), card.counts, strict=True)):
            if wanted > count:
                said = f"synthetic.ipc = {self.ipc}" if self.nodes is None else f"synthetic.nodes = {self.nodes}"
                raise ddcore.RecipeRefused(
                    f"{said} takes {wanted} labelled nodes of class {card.called(c)} of {card.name}, which has {count}:"
                    " take fewer nodes."
                )


@dataclass(frozen=True)
class Begun(OfNodes):
    """A carrier of nodes whose features are learned from a start."""

    init: Literal["centres", "rows", "farthest", "noise"] = "centres"
    """``centres`` starts from the means of equal groups of each class's labelled nodes, ``rows`` from random ones of
    these, ``farthest`` from ones that cover their class (k-center); ``noise`` draws normal numbers and asks nothing of
    T."""
    hops: dd.Whole = 2
    """The start is rows of A^k X with this k, which hold what networks hear on the whole graph."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init != "noise" else ())

    def begin(self, features: Tensor, classes: Tensor, ctx: dd.Context) -> None:
        """Fill ``features`` (n, d) of nodes of ``classes`` (n,), through the gate."""
        with torch.no_grad():
            if self.init == "noise":
                features.copy_(torch.randn(features.shape, generator=ctx.rng["init"]))
                return
            for c, wanted in enumerate(self.per_class(ctx.card)):
                (batch,) = ctx.gate.examples([dd.Group(classes=(c,), size=wanted if self.init == "rows" else None)])
                heard = heard_by(batch, self.hops)
                if self.init == "centres":
                    heard = centres(heard, wanted)
                features[classes == c] = heard[dd.farthest(heard, wanted)] if self.init == "farthest" else heard


def heard_by(batch: dd.Batch, hops: int) -> Tensor:
    """What the nodes of a batch hear over ``hops`` (n, d)."""
    inputs: Any = batch.inputs
    assert isinstance(inputs, Nodes)
    return inputs.propagated(hops)


class NodesModule(dd.CarrierModule):
    """Holds ``features`` (n, d), each number learned."""

    def __init__(self, plan: Begun, card: dd.DataCard) -> None:
        super().__init__()
        self.plan = plan
        per_class = plan.per_class(card)
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(torch.tensor(per_class)))
        self.features = torch.nn.Parameter(torch.zeros(sum(per_class), *card.shape))

    def start(self, ctx: dd.Context) -> None:
        self.plan.begin(self.features, self.classes, ctx)

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {"inputs": [self.features]}

    @abstractmethod
    def forward(self, index: Tensor) -> Any: ...
