"""Networks of two towers, one for each half of an item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcore import plugin as dd


def check_halves(card: dd.DataCard) -> None:
    """Raises RecipeRefused where the outputs for the data are not two embeddings of the same length."""
    if card.outputs % 2:
        raise dd.RecipeRefused(
            f"{card.name} has {card.outputs} values per item, and two embeddings take an even number: give the data"
            " targets of zeros (n, 2 d), d the numbers of an embedding."
        )


class Towers(nn.Module):
    """The embeddings of both halves of items (n, first + second), one beside the other (n, 2 width)."""

    def __init__(self, sizes: list[int], hidden: int, width: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, width)) for size in sizes
        )

    def embeddings(self, x: Tensor) -> list[Tensor]:
        return [tower(part) for tower, part in zip(self.towers, x.split(self.sizes, 1), strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.embeddings(x), 1)


class Product(Towers):
    """A linear layer on the product of both embeddings."""

    def __init__(self, sizes: list[int], hidden: int, width: int, outputs: int) -> None:
        super().__init__(sizes, hidden, width)
        self.head = nn.Linear(width, outputs)

    def features(self, x: Tensor) -> Tensor:
        one, other = self.embeddings(x)
        return one * other

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class OfHalves(dd.NetworkPlan):
    suits = frozenset({"vector"})

    first: dd.Count | None = None
    """Numbers of an item that are its first half; None for half of them."""
    hidden: dd.Count = 128
    """Units of the hidden layer of a tower."""

    def sizes(self, card: dd.DataCard) -> list[int]:
        """Numbers of both halves.

        Raises:
            RecipeRefused: one of them has none.
        """
        of = card.shape[0]
        first = of // 2 if self.first is None else self.first
        if not 0 < first < of:
            raise dd.RecipeRefused(
                f"first = {self.first}: the items of {card.name} have {of} numbers, and each half needs at least one."
            )
        return [first, of - first]


@dataclass(frozen=True)
class TwoTowers(OfHalves):
    """One MLP for each half of an item; the outputs are both embeddings, and learn by a contrastive loss.

    The data say how long an embedding is, by twice as many values per item. They are zeros where a pair goes with
    itself alone.
    """

    values_only = True

    def build(self, card: dd.DataCard) -> dd.ModuleNetwork:
        check_halves(card)
        sizes = self.sizes(card)
        return dd.ModuleNetwork(lambda: Towers(sizes, self.hidden, card.outputs // 2))


@dataclass(frozen=True)
class PairScore(OfHalves):
    """How well the halves of an item go together: a linear layer on the product of the embeddings of two MLPs.

    It has classes as any network does, so that any method distils it and any protocol trains it.
    """

    width: dd.Count = 32
    """Numbers of an embedding."""

    def build(self, card: dd.DataCard) -> dd.ModuleNetwork:
        sizes = self.sizes(card)
        return dd.ModuleNetwork(lambda: Product(sizes, self.hidden, self.width, card.outputs))
