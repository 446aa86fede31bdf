"""Memories: what is kept of experiences that are over."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_replay.stream import Stream, joined, taken


class Kept(ABC):
    """A memory at work; ``store`` holds raw items under their labels in the whole stream."""

    def __init__(self, card: dd.DataCard) -> None:
        self.card = card
        empty = torch.zeros(0, *card.shape, dtype=torch.uint8)
        self.store = dd.Store.of(empty, torch.zeros(0, dtype=torch.long), card.classes)

    @property
    def nbytes(self) -> int:
        """Bytes that must be stored to have it."""
        return self.store.nbytes

    @abstractmethod
    def learn(self, store: dd.Store) -> None:
        """Take in the items of an experience."""


class Memory(dd.Part, kind="memory"):
    """Which memory."""

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.part_name()

    @abstractmethod
    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> Kept:
        """An empty one. Raises RecipeRefused where it cannot serve a stream of ``card``."""

    def check_stream(self, stream: Stream, host: dd.Host) -> None:
        """Raises RecipeRefused where it cannot serve ``stream``."""
        self.build(stream.card, 0, "cpu", host)


@dataclass(frozen=True)
class Nothing(Memory):
    """Keeps nothing: training goes on and on (naive)."""

    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptNothing:
        return KeptNothing(card)


class KeptNothing(Kept):
    def learn(self, store: dd.Store) -> None:
        pass


@dataclass(frozen=True)
class Everything(Memory):
    """Keeps all of T: the ceiling (joint)."""

    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptEverything:
        return KeptEverything(card)


class KeptEverything(Kept):
    def learn(self, store: dd.Store) -> None:
        self.store = joined([self.store, store])


def item_bytes(card: dd.DataCard) -> int:
    """Bytes of an image at one byte per value, and of its label."""
    return math.prod(card.shape) + (1 if card.classes <= 256 else 2)


@dataclass(frozen=True)
class Bounded(Memory):
    """A memory with a budget in images, in bytes with their labels, or both, of which the tighter counts."""

    size: dd.Count | None = None
    """Images that it may hold; None for no limit."""
    nbytes: dd.Count | None = None
    """Bytes that it may hold, at one byte per value, as uint8 items have and as distilled ones are stored; None for no
    limit."""

    def faults(self) -> Iterator[str]:
        if self.size is None and self.nbytes is None:
            yield "a memory needs a budget: give size, in images, or nbytes, or both"

    def images(self, card: dd.DataCard) -> int:
        """How many it has room for."""
        bounds = (self.size, None if self.nbytes is None else self.nbytes // item_bytes(card))
        return min(bound for bound in bounds if bound is not None)

    @abstractmethod
    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptBounded: ...


class KeptBounded(Kept):
    """A memory with a budget, at work."""

    @abstractmethod
    def resize(self, images: int) -> None:
        """Have room for ``images`` from now on."""


def shared(images: int, classes: int) -> int:
    """What each of ``classes`` has of the room for ``images``. Raises RecipeRefused where that is not even one."""
    if images < classes:
        raise dd.RecipeRefused(
            f"A memory of {images} images cannot hold one of each of {classes} classes: make it larger."
        )
    return images // classes


class Sample(Bounded):
    """A random sample of real items: each is given a uniform number when it comes, and those of the least are kept."""

    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptSample:
        return KeptSample(self, card, seed)

    @abstractmethod
    def kept(self, targets: Tensor, numbers: Tensor, room: int) -> Tensor:
        """Which rows (m,) of items with ``targets`` and ``numbers`` (n,) stay, at most ``room``."""


class KeptSample(KeptBounded):
    def __init__(self, plan: Sample, card: dd.DataCard, seed: int) -> None:
        super().__init__(card)
        self.plan, self.images, self.rng = plan, plan.images(card), dd.Streams(seed)[plan.part_name()]
        self.numbers = torch.zeros(0, dtype=torch.float64)

    def learn(self, store: dd.Store) -> None:
        drawn = torch.rand(len(store), generator=self.rng, dtype=torch.float64)
        self._keep(store, torch.cat([self.numbers, drawn]))

    def resize(self, images: int) -> None:
        self.images = images
        self._keep(taken(self.store, torch.zeros(0, dtype=torch.long)), self.numbers)

    def _keep(self, store: dd.Store, numbers: Tensor) -> None:
        held = len(self.store)
        rows = self.plan.kept(torch.cat([self.store.targets, store.targets]), numbers, self.images).sort().values
        old, new = rows[rows < held], rows[rows >= held]
        self.store = joined([taken(self.store, old), taken(store, new - held)])
        self.numbers = numbers[torch.cat([old, new])[self.store.order]]


@dataclass(frozen=True)
class Reservoir(Sample):
    """A uniform sample of all items so far, as reservoir sampling keeps (Vitter, 1985)."""

    def kept(self, targets: Tensor, numbers: Tensor, room: int) -> Tensor:
        return numbers.argsort()[:room]


@dataclass(frozen=True)
class Balanced(Sample):
    """As many random items of each class so far as the budget has room for; what is left over goes to the first."""

    def kept(self, targets: Tensor, numbers: Tensor, room: int) -> Tensor:
        order, seen = numbers.argsort(), targets.unique()
        share, more = divmod(room, len(seen))
        return torch.cat([order[targets[order] == c][: share + (i < more)] for i, c in enumerate(seen)])
