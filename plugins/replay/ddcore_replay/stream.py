"""A class-incremental stream: experiences that bring new classes, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ddcore import plugin as dd


@dataclass(frozen=True)
class Experience:
    """What comes at once: items of some classes, under their labels in the whole stream, and a test split of them."""

    classes: tuple[int, ...]
    train: dd.Store
    test: dd.Store


@dataclass(frozen=True)
class Stream:
    """Experiences in their order; no class comes twice."""

    card: dd.DataCard
    experiences: tuple[Experience, ...]

    @staticmethod
    def of(data: dd.RealData, classes_each: int, order: Sequence[int] | None = None) -> Stream:
        """``data`` cut into experiences of ``classes_each`` classes, taken in ``order`` (None: by number).

        Raises:
            RecipeRefused: the classes cannot be cut so, or ``order`` does not name each of them once.
        """
        total = data.card.classes
        if classes_each < 1 or total % classes_each:
            raise dd.RecipeRefused(
                f"The {total} classes of {data.card.name} cannot be cut into experiences of {classes_each}: take a"
                " number that divides them."
            )
        order = list(range(total)) if order is None else list(order)
        if sorted(order) != list(range(total)):
            raise dd.RecipeRefused(f"The order {order} does not name each of {total} classes once.")
        groups = (tuple(order[i : i + classes_each]) for i in range(0, total, classes_each))
        return Stream(data.card, tuple(Experience(g, _of(data.train, g), _of(data.test, g)) for g in groups))


def _of(store: dd.Store, classes: Sequence[int]) -> dd.Store:
    return store.subset(torch.isin(store.targets, torch.tensor(classes)).nonzero().flatten())


def present(store: dd.Store) -> list[int]:
    """The classes of which ``store`` holds items."""
    return [c for c, count in enumerate(store.counts) if count]


def taken(store: dd.Store, rows: torch.Tensor) -> dd.Store:
    """The items at ``rows``, read."""
    return dd.Store.of(store.inputs[rows], store.targets[rows], store.classes)


def joined(stores: Sequence[dd.Store]) -> dd.Store:
    """The items of all, read; those without items do not matter. Bytes beside floats become floats."""
    stores = [store for store in stores if len(store)] or list(stores[:1])
    alike = len({store.inputs.dtype for store in stores}) == 1
    rows = [torch.arange(len(store)) for store in stores]
    read: list[Any] = [s.inputs[r] if alike else s.take(r).inputs for s, r in zip(stores, rows, strict=True)]
    inputs = torch.cat(read)
    classes = max(store.classes for store in stores)
    return dd.Store.of(inputs, torch.cat([store.targets for store in stores]), classes)
