"""One split of real data, in memory or on disk: sorted by class, as small as it came."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Generator, Tensor

from ddcore.device import sent
from ddcore.losses import LossName
from ddcore.types import Batch

LOT_BYTES = 64 * 2**20
"""Most bytes of items, in float32, that a walk over a whole store holds at once."""


class Items(ABC):
    """Items that are no plain tensor: files that are read when they are taken, nodes that know their graph.

    What networks of their kind take is what indexing gives: a tensor, or items of this class again.
    """

    dtype = torch.uint8

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(n, ...), as a tensor of them would have it."""

    @abstractmethod
    def __getitem__(self, rows: Any) -> Inputs:
        """The items at ``rows`` (n,), as networks take them.

        Where they are items again, those are indexed like tensors: by slices, and by rows of any shape.
        """

    def at(self, rows: Tensor) -> Items:
        """The items at ``rows`` (n,), unread."""
        return self[rows]  # type: ignore[return-value]

    def plain(self) -> Tensor:
        """What a set stores of each item (n, ...)."""
        found = self[torch.arange(len(self))]
        if isinstance(found, Tensor):
            return found
        raise NotImplementedError(f"{type(self).__name__} says not what a set stores of it: give it plain().")

    def joined(self, others: Sequence[Items]) -> Items:
        """These items, and then ``others`` of the same class."""
        raise NotImplementedError(f"{type(self).__name__} cannot be joined: give it joined(others).")

    def to(self, device: torch.device) -> Items:
        """The items with what they hold on ``device``."""
        return self

    def fingerprint(self) -> str:
        """A hash of what they hold, cheap enough to be asked for in every run; by default of what a set stores of
        them. Items that lie in files may name these, with their sizes and times of modification."""
        return _hashed(self)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


Inputs = Tensor | Items


def plain(inputs: Inputs) -> Tensor:
    """What a set stores of each item (n, ...)."""
    return inputs if isinstance(inputs, Tensor) else inputs.plain()


def joined(parts: Sequence[Any]) -> Any:
    """Inputs one after another, all tensors or all of one class of items."""
    first, *others = parts
    if not others:
        return first
    return torch.cat(list(parts)) if isinstance(first, Tensor) else first.joined(others)


def apart(inputs: Any, sizes: Sequence[int]) -> list[Any]:
    """Inputs one after another as parts of ``sizes``: what :func:`joined` undoes."""
    stops = list(accumulate(sizes))
    return [inputs[stop - size : stop] for size, stop in zip(sizes, stops, strict=True)]


def dealt(inputs: Any, nets: int) -> Any:
    """Inputs (e * n, ...) as those of e nets side by side (e, n, ...)."""
    if isinstance(inputs, Tensor):
        return inputs.unflatten(0, (nets, -1))
    return inputs[torch.arange(len(inputs)).view(nets, -1)]


def inputs_on(inputs: Any, device: torch.device) -> Any:
    """Inputs on ``device``, tensors as :func:`~ddcore.device.sent` has it."""
    return sent(inputs, device) if isinstance(inputs, Tensor) else inputs.to(device)


def repeated(inputs: Any, nets: int) -> Any:
    """Inputs (n, ...) shown to each of e nets (e, n, ...)."""
    if isinstance(inputs, Tensor):
        return inputs.expand(nets, *inputs.shape)
    return inputs[torch.arange(len(inputs)).expand(nets, -1)]


def picked(inputs: Inputs, rows: Tensor) -> Inputs:
    """``inputs`` at ``rows`` (n,), still unread where they were."""
    return inputs[rows] if isinstance(inputs, Tensor) else inputs.at(rows)


@dataclass(frozen=True)
class Store:
    """One split: its items sorted by class, kept as uint8 where they came so.

    ``inputs`` (n, ...) uint8 stand for [0, 1] in 255 steps and are turned to float32 only when taken; float32 inputs
    are used as they are. ``targets`` are classes (n,), or values (n, v) of items that are all of one class. ``order``
    (n,) is each item's place in its source: in what was handed over, whatever was sorted, left out or set aside since.
    """

    inputs: Inputs
    targets: Tensor
    classes: int
    order: Tensor

    @staticmethod
    def of(inputs: Inputs, targets: Tensor, classes: int) -> Store:
        """The store of ``inputs`` (n, ...) with ``targets`` (n,) or (n, v), in any order."""
        if targets.ndim == 2:
            return Store(inputs, targets, classes, torch.arange(len(targets)))
        order = targets.argsort(stable=True)
        return Store(picked(inputs, order), targets[order].long(), classes, order)

    @property
    def loss(self) -> LossName:
        """What networks learn its targets by."""
        return "squared" if self.targets.ndim == 2 else "cross_entropy"

    @cached_property
    def offsets(self) -> Tensor:
        """(k + 1,): class c is the rows ``offsets[c]`` to ``offsets[c + 1]``."""
        classes = self.targets if self.targets.ndim == 1 else self.targets.new_zeros(len(self.targets)).long()
        counts = torch.bincount(classes, minlength=self.classes).cpu()
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self.offsets.diff().tolist())

    @property
    def nbytes(self) -> int:
        """Bytes of the items as they came, and of their targets: a class is one byte up to 256 classes, else two."""
        if self.targets.ndim == 2:
            return self.inputs.nbytes + self.targets.nbytes
        return self.inputs.nbytes + len(self.targets) * (1 if self.classes <= 256 else 2)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> Batch:
        """The items at the rows ``index`` (n,), in float32."""
        there = sent(index, self.targets.device)
        inputs: Any = self.inputs[there]
        if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
        return Batch(inputs, self.targets[there], self.order[index])

    def to(self, device: torch.device) -> Store:
        """The same items on ``device``; their places stay where they are."""
        return Store(self.inputs.to(device), self.targets.to(device), self.classes, self.order)

    def draw(
        self,
        generator: Generator,
        classes: Sequence[int] | None = None,
        size: int | None = None,
        among: Tensor | None = None,
    ) -> Tensor:
        """``size`` rows among those of ``classes``, uniformly without replacement; where too few, all in order.

        ``among``: a mask (n,) of the rows that may be drawn.
        """
        if among is not None:
            rows = self.draw(generator, classes)
            rows = rows[among[rows]]
            if size is None or size >= len(rows):
                return rows
            return rows[_without_replacement(len(rows), size, generator)]
        chosen = torch.tensor(sorted(set(range(self.classes) if classes is None else classes)), dtype=torch.long)
        stops = self.offsets[chosen + 1]
        passed = (stops - self.offsets[chosen]).cumsum(0)
        available = int(passed[-1]) if len(passed) else 0
        if size is None or size >= available:
            places = torch.arange(available)
        else:
            places = _without_replacement(available, size, generator)
        # a place counts the rows of the chosen classes alone: the gaps before its class lead to its row
        return places + (stops - passed)[torch.searchsorted(passed, places, right=True)]

    def sample(self, generator: Generator, classes: Sequence[int] | None, rate: float) -> Tensor:
        """Rows among those of ``classes``, each by itself with probability ``rate`` (Poisson sampling); maybe none."""
        rows = self.draw(generator, classes)
        return rows if rate >= 1 else rows[torch.rand(len(rows), generator=generator, dtype=torch.float64) < rate]

    def relabelled(self, targets: Tensor) -> Store:
        """The same items under other ``targets`` (n,), sorted anew."""
        place = targets.argsort(stable=True)
        return Store(picked(self.inputs, place), targets[place], self.classes, self.order[place])

    def subset(self, index: Tensor) -> Store:
        """The items at the rows ``index``, in the order of the rows."""
        index = index.sort().values
        return Store(picked(self.inputs, index), self.targets[index], self.classes, self.order[index])

    @cached_property
    def content(self) -> str:
        """A hash of all items and labels: the same for the same data, and for no others."""
        items = self.inputs.fingerprint() if isinstance(self.inputs, Items) else _hashed(self.inputs)
        return _digest([self.targets], items)

    def fingerprint(self, *more: Tensor) -> str:
        """A hash of all items and labels, and of ``more``."""
        return _digest(more, self.content)

    def lots(self, size: int = 4096) -> Iterator[Tensor]:
        """All rows in order, at most ``size`` and ``LOT_BYTES`` of items at a time."""
        return _lots(self.inputs, size)

    def chunks(self, size: int = 4096) -> Iterator[Batch]:
        """All items, lot by lot."""
        return (self.take(rows) for rows in self.lots(size))


def _lots(inputs: Inputs, size: int = 4096) -> Iterator[Tensor]:
    fit = LOT_BYTES // (4 * math.prod(inputs.shape[1:]))
    return iter(torch.arange(len(inputs)).split(max(1, min(size, fit))))


def _hashed(inputs: Inputs) -> str:
    return _digest((plain(inputs[rows]) for rows in _lots(inputs)), f"{inputs.dtype} {tuple(inputs.shape)}")


def _digest(tensors: Iterable[Tensor], said: str) -> str:
    digest = hashlib.sha256(said.encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().flatten().numpy().data)
    return digest.hexdigest()


def _without_replacement(n: int, size: int, generator: Generator) -> Tensor:
    """``size`` different numbers below ``n``: rejection while they are few, a permutation otherwise."""
    if 4 * size > n:
        return torch.randperm(n, generator=generator)[:size]
    taken: dict[int, None] = {}
    while len(taken) < size:
        taken.update(dict.fromkeys(torch.randint(n, (size - len(taken),), generator=generator).tolist()))
    return torch.tensor(list(taken), dtype=torch.long)


def split_rows(store: Store, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of a stratified ``fraction`` of ``store``, and the rest."""
    generator = Generator().manual_seed(seed)
    held, kept, start = [], [], 0
    for count in store.counts:
        rows = start + torch.randperm(count, generator=generator)
        held.append(rows[: round(fraction * count)])
        kept.append(rows[round(fraction * count) :])
        start += count
    return torch.cat(held), torch.cat(kept)
