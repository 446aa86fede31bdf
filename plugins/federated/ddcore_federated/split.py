"""How the items of a data set fall to clients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from ddcore import plugin as dd

TRIES = 1000
"""Draws of a split before it is given up."""


class Split(dd.Part, kind="split"):
    """Which client has which items."""

    @abstractmethod
    def rows(self, targets: Tensor, clients: int, rng: Generator) -> list[Tensor]:
        """The items, as sorted rows of ``targets`` (n,), of each client; no item falls to two.

        Raises:
            RecipeRefused: it cannot be done.
        """


def _at_least_one(clients: int, items: int) -> None:
    if not 1 <= clients <= items:
        raise dd.RecipeRefused(f"{items} items cannot be split among {clients} clients: take 1 to {items}.")


@dataclass(frozen=True)
class Iid(Split):
    """Items at random, as many to each client as to the others, or one more."""

    def rows(self, targets: Tensor, clients: int, rng: Generator) -> list[Tensor]:
        _at_least_one(clients, len(targets))
        return [rows.sort().values for rows in torch.randperm(len(targets), generator=rng).tensor_split(clients)]


@dataclass(frozen=True)
class Dirichlet(Split):
    """Each class is cut in shares p ~ Dirichlet(``alpha``, ..., ``alpha``) over the clients, class by class.

    **Reference**: Hsu, Qi and Brown, 2019; the redraw as in FedDM's experiments.
    """

    alpha: dd.Positive = 0.5
    """Concentration: the smaller, the more the clients differ."""
    least: dd.Count = 10
    """Items that every client must have; the split is drawn again until each has them."""

    def rows(self, targets: Tensor, clients: int, rng: Generator) -> list[Tensor]:
        _at_least_one(clients, len(targets))
        if clients * self.least > len(targets):
            raise dd.RecipeRefused(
                f"{len(targets)} items are too few for {clients} clients of at least {self.least}: lower split.least,"
                " or take fewer clients."
            )
        # torch draws no Dirichlet from a generator of its own
        draws = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        pools = [(targets == c).nonzero().flatten() for c in targets.unique()]
        for _ in range(TRIES):
            shares = draws.dirichlet([self.alpha] * clients, len(pools))
            cuts = [
                torch.from_numpy((share.cumsum()[:-1] * len(pool)).astype(np.int64))
                for share, pool in zip(shares, pools, strict=True)
            ]
            sizes = sum(
                torch.diff(cut, prepend=torch.tensor([0]), append=torch.tensor([len(pool)]))
                for cut, pool in zip(cuts, pools, strict=True)
            )
            if int(torch.as_tensor(sizes).min()) >= self.least:
                parts = [
                    pool[torch.randperm(len(pool), generator=rng)].tensor_split(cut)
                    for pool, cut in zip(pools, cuts, strict=True)
                ]
                return [torch.cat(mine).sort().values for mine in zip(*parts, strict=True)]
        raise dd.RecipeRefused(
            f"In {TRIES} draws of {self} there was always one of {clients} clients with fewer than {self.least} items:"
            " take a larger split.alpha, a lower split.least, or fewer clients."
        )


@dataclass(frozen=True)
class ByClasses(Split):
    """Each client has items of a few classes, the items of a class cut evenly among those that have it.

    Classes are dealt round and round from one shuffled pack, so that they are given out as evenly as possible.

    **Reference**: the skew of FedD3 (Song et al., 2023).
    """

    classes_each: dd.Count = 2
    """Classes per client."""

    def rows(self, targets: Tensor, clients: int, rng: Generator) -> list[Tensor]:
        _at_least_one(clients, len(targets))
        present = targets.unique()
        if not 1 <= self.classes_each <= len(present):
            raise dd.RecipeRefused(
                f"split.classes_each = {self.classes_each}, but the items are of {len(present)} classes."
            )
        if clients * self.classes_each < len(present):
            raise dd.RecipeRefused(
                f"{clients} clients of {self.classes_each} classes leave some of the {len(present)} classes out: take"
                " more clients, or a larger split.classes_each."
            )
        held = _dealt(len(present), clients, self.classes_each, rng)
        parts: list[list[Tensor]] = [[] for _ in range(clients)]
        for i, c in enumerate(present):
            pool = (targets == c).nonzero().flatten()
            owners = [client for client in range(clients) if i in held[client]]
            if len(owners) > len(pool):
                raise dd.RecipeRefused(
                    f"Class {int(c)} has {len(pool)} items for {len(owners)} clients: take fewer clients."
                )
            pieces = pool[torch.randperm(len(pool), generator=rng)].tensor_split(len(owners))
            for owner, piece in zip(owners, pieces, strict=True):
                parts[owner].append(piece)
        return [torch.cat(mine).sort().values for mine in parts]


def _dealt(classes: int, clients: int, each: int, rng: Generator) -> list[set[int]]:
    """``each`` different classes for every client: the ones given out least, ties broken at random."""
    given = torch.zeros(classes)
    hands = []
    for _ in range(clients):
        hand = (given + torch.rand(classes, generator=rng) / 2).argsort()[:each]
        given[hand] += 1
        hands.append(set(hand.tolist()))
    return hands


def histogram(targets: Tensor, rows: Sequence[Tensor], classes: int) -> Tensor:
    """Items of each class at each client (clients, classes)."""
    return torch.stack([torch.bincount(targets[mine], minlength=classes) for mine in rows])


def shard(data: dd.RealData, rows: Tensor, least: int = 1) -> tuple[dd.RealData, tuple[int, ...]]:
    """The items of ``data.train`` at ``rows`` as a data set with no other classes than theirs, and which those were.

    Classes with fewer than ``least`` items are left out. There is no test split but the items themselves.

    Raises:
        BadData: nothing is left.
    """
    store = data.train.subset(rows)
    classes = tuple(c for c, count in enumerate(store.counts) if count >= max(1, least))
    if not classes:
        raise dd.BadData(
            f"The shard's {len(store)} items have no class with at least {least}: lower ipc, or give the client more."
        )
    return dd.RealData.alone(data.card, store, classes), classes
