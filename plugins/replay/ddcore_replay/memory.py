"""Memories: what is kept of experiences that are over."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

import ddcore
from ddcore_replay.stream import joined, present, taken


class Kept(ABC):
    """A memory at work; ``store`` holds raw items under their labels in the whole stream."""

    def __init__(self, card: ddcore.DataCard) -> None:
        self.card = card
        empty = torch.zeros(0, *card.shape, dtype=torch.uint8)
        self.store = ddcore.Store.of(empty, torch.zeros(0, dtype=torch.long), card.classes)

    @property
    def nbytes(self) -> int:
        """Bytes that must be stored to have it."""
        return self.store.nbytes

    @abstractmethod
    def learn(self, store: ddcore.Store) -> None:
        """Take in the items of an experience."""


class Memory(ddcore.Part, kind="memory"):
    """Which memory."""

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.part_name()

    @abstractmethod
    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> Kept:
        """An empty one. Raises RecipeRefused where it cannot serve a stream of ``card``."""


@dataclass(frozen=True)
class Nothing(Memory):
    """Keeps nothing: training goes on and on (naive)."""

    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> KeptNothing:
        return KeptNothing(card)


class KeptNothing(Kept):
    def learn(self, store: ddcore.Store) -> None:
        pass


@dataclass(frozen=True)
class Everything(Memory):
    """Keeps all of T: the ceiling (joint)."""

    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> KeptEverything:
        return KeptEverything(card)


class KeptEverything(Kept):
    def learn(self, store: ddcore.Store) -> None:
        self.store = joined([self.store, store])


def item_bytes(card: ddcore.DataCard) -> int:
    """Bytes of an image at a byte a value, and of its label."""
    return math.prod(card.shape) + (1 if card.classes <= 256 else 2)


@dataclass(frozen=True)
class Bounded(Memory):
    """A memory with a budget: ``size`` images, or ``nbytes`` bytes with their labels."""

    size: int | None = None
    nbytes: int | None = None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.nbytes is None) or (self.size or self.nbytes or 0) < 1:
            raise ddcore.RecipeRefused(
                f"A memory says either size, in images, or nbytes, and at least 1; got size = {self.size} and nbytes ="
                f" {self.nbytes}."
            )

    def images(self, card: ddcore.DataCard) -> int:
        return self.size if self.size is not None else (self.nbytes or 0) // item_bytes(card)


@dataclass(frozen=True)
class Reservoir(Bounded):
    """A uniform sample of all items so far (Vitter, 1985, Algorithm R)."""

    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> KeptReservoir:
        return KeptReservoir(card, self.images(card), seed)


class KeptReservoir(Kept):
    def __init__(self, card: ddcore.DataCard, size: int, seed: int) -> None:
        super().__init__(card)
        self.size, self.passed, self.rng = size, 0, ddcore.Streams(seed)["reservoir"]

    def learn(self, store: ddcore.Store) -> None:
        held = len(self.store)
        places = list(range(held))
        coming = torch.randperm(len(store), generator=self.rng).tolist()
        chances = torch.rand(len(store), generator=self.rng, dtype=torch.float64).tolist()
        for row, chance in zip(coming, chances, strict=True):
            self.passed += 1
            place = int(chance * self.passed)
            if len(places) < self.size:
                places.append(held + row)
            elif place < self.size:
                places[place] = held + row
        rows = torch.tensor(places, dtype=torch.long)
        old, new = taken(self.store, rows[rows < held]), taken(store, rows[rows >= held] - held)
        self.store = joined([old, new])


@dataclass(frozen=True)
class Balanced(Bounded):
    """As many random items of each class so far as the budget has room for; what is left over goes to the first."""

    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> KeptBalanced:
        return KeptBalanced(card, self.images(card), seed)


class KeptBalanced(Kept):
    def __init__(self, card: ddcore.DataCard, size: int, seed: int) -> None:
        super().__init__(card)
        self.size, self.rng = size, ddcore.Streams(seed)["balanced"]

    def learn(self, store: ddcore.Store) -> None:
        pools = [self.store, store]
        seen = sorted({c for pool in pools for c in present(pool)})
        share, more = divmod(self.size, len(seen))
        kept = []
        for i, c in enumerate(seen):
            pool = joined([taken(p, (p.targets == c).nonzero().flatten()) for p in pools])
            rows = torch.randperm(len(pool), generator=self.rng)[: share + (i < more)]
            kept.append(taken(pool, rows))
        self.store = joined(kept)
