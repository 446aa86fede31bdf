"""Real data, in memory or on disk: class-sorted, as small as they came, with their checks."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from torch import Generator, Tensor

from ddcore.errors import BadData
from ddcore.types import Batch, DataCard

LOT_BYTES = 64 * 2**20
"""Most bytes of items, in float32, that a walk over a whole store holds at once."""


class Items(ABC):
    """Items that are read only when they are taken, and then are uint8."""

    dtype = torch.uint8

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(n, ...), as a tensor of them would have it."""

    @abstractmethod
    def __getitem__(self, rows: Tensor) -> Tensor:
        """The items at ``rows`` (n,), read."""

    @abstractmethod
    def at(self, rows: Tensor) -> Items:
        """The items at ``rows`` (n,), unread."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


Inputs = Tensor | Items


def picked(inputs: Inputs, rows: Tensor) -> Inputs:
    """``inputs`` at ``rows`` (n,), still unread where they were."""
    return inputs[rows] if isinstance(inputs, Tensor) else inputs.at(rows)


@dataclass(frozen=True)
class Store:
    """One split: its items sorted by class, kept as uint8 where they came so.

    ``inputs`` (n, ...) uint8 stand for [0, 1] in 255 steps and are turned to float32 only when taken; float32 inputs
    are used as they are. ``order`` (n,) is each item's place in its source.
    """

    inputs: Inputs
    targets: Tensor
    classes: int
    order: Tensor

    @staticmethod
    def of(inputs: Inputs, targets: Tensor, classes: int) -> Store:
        """The store of ``inputs`` (n, ...) with ``targets`` (n,), in any order."""
        order = targets.argsort(stable=True)
        return Store(picked(inputs, order), targets[order].long(), classes, order)

    @cached_property
    def offsets(self) -> Tensor:
        """(k + 1,): class c is the rows ``offsets[c]`` to ``offsets[c + 1]``."""
        counts = torch.bincount(self.targets, minlength=self.classes).cpu()
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self.offsets.diff().tolist())

    @property
    def nbytes(self) -> int:
        """Bytes of the items as they came, and of their labels: one byte each up to 256 classes, else two."""
        return self.inputs.nbytes + len(self.targets) * (1 if self.classes <= 256 else 2)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> Batch:
        """The items at the rows ``index`` (n,), in float32."""
        inputs = self.inputs[index]
        return Batch(inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs, self.targets[index], index)

    def draw(self, generator: Generator, classes: Sequence[int] | None = None, size: int | None = None) -> Tensor:
        """``size`` rows among those of ``classes``, uniformly without replacement; where too few, all in order."""
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

    def fingerprint(self, *more: Tensor) -> str:
        """A hash of all items and labels, and of ``more``."""
        digest = hashlib.sha256()
        for tensor in chain((self.inputs[rows] for rows in self.lots()), (self.targets, *more)):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def lots(self, size: int = 4096) -> Iterator[Tensor]:
        """All rows in order, at most ``size`` and ``LOT_BYTES`` of items at a time."""
        fit = LOT_BYTES // (4 * math.prod(self.inputs.shape[1:]))
        return iter(torch.arange(len(self)).split(max(1, min(size, fit))))

    def chunks(self, size: int = 4096) -> Iterator[Batch]:
        """All items, lot by lot."""
        return (self.take(rows) for rows in self.lots(size))


def _without_replacement(n: int, size: int, generator: Generator) -> Tensor:
    """``size`` different numbers below ``n``: rejection while they are few, a permutation otherwise."""
    if 4 * size > n:
        return torch.randperm(n, generator=generator)[:size]
    taken: dict[int, None] = {}
    while len(taken) < size:
        taken.update(dict.fromkeys(torch.randint(n, (size - len(taken),), generator=generator).tolist()))
    return torch.tensor(list(taken), dtype=torch.long)


Pair = tuple[np.ndarray | Inputs, np.ndarray | Tensor]
"""Images and labels of a split."""


@dataclass(frozen=True)
class RealData:
    """A data set: the real set T to distil, the test split, and a validation split where one was set aside."""

    card: DataCard
    train: Store
    test: Store
    validation: Store | None = None

    @staticmethod
    def alone(card: DataCard, store: Store, classes: Sequence[int]) -> RealData:
        """The items of ``store`` that are of ``classes``, ascending, as a data set that has no others.

        Class i is ``classes[i]`` of ``card``; there is no test split but the items themselves.
        """
        wanted = torch.tensor(classes)
        store = store.subset(torch.isin(store.targets, wanted).nonzero().flatten())
        own = Store.of(store.inputs, torch.searchsorted(wanted, store.targets), len(wanted))
        names = tuple(card.class_names[c] for c in classes) if card.class_names else ()
        return RealData(replace(card, classes=len(wanted), counts=own.counts, class_names=names), own, own)

    @staticmethod
    def of(
        name: str,
        train: Pair,
        test: Pair,
        *,
        validation: Pair | None = None,
        classes: int | None = None,
        class_names: Sequence[str] = (),
        flips: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> RealData:
        """Images and labels of each split, checked.

        Images: (n, h, w), (n, c, h, w) or (n, h, w, c), uint8 or finite floats; items unread (n, c, h, w). Labels:
        whole numbers from 0.

        Raises:
            BadData: in a sentence that says which split, what is wrong, and what to do.
        """
        splits = {"train": train, "test": test} | ({"validation": validation} if validation else {})
        arrays = {s: (_images(name, s, x), _labels(name, s, y)) for s, (x, y) in splits.items()}
        known = classes or max(len(class_names), int(arrays["train"][1].max()) + 1)
        stores = {s: _store(name, s, x, y, known) for s, (x, y) in arrays.items()}
        if len(class_names) not in (0, known):
            raise BadData(
                f"{name}: {len(class_names)} class names for {known} classes. Give one name a class, or none."
            )
        shape = tuple(stores["train"].inputs.shape[1:])
        for split, store in stores.items():
            if tuple(store.inputs.shape[1:]) != shape:
                raise BadData(
                    f"{name}: {split} images are {tuple(store.inputs.shape[1:])}, those of train {shape}."
                    " All splits must have images of one shape."
                )
        for c, count in enumerate(stores["train"].counts):
            if not count:
                raise BadData(
                    f"{name}: class {c} of {known} has no item in train. Leave it out, or number the rest anew."
                )
        card = DataCard(
            name,
            shape,
            known,
            stores["train"].counts,
            flips,
            tuple(class_names),
            tuple(mean) if mean else None,
            tuple(std) if std else None,
        )
        return RealData(card, stores["train"], stores["test"], stores.get("validation"))

    def subset(self, rows: Tensor) -> RealData:
        """The same problem, of whose training items only those at ``rows`` are there; some classes may have none."""
        store = self.train.subset(rows)
        return replace(self, card=replace(self.card, counts=store.counts), train=store)

    def with_validation(self, fraction: float, seed: int) -> RealData:
        """Set a stratified ``fraction`` of train aside for choosing, before anything else looks at it.

        It takes the place of a validation split that came with the data.

        Raises:
            BadData: a fraction that is none, or a class that it would take whole or leave out.
        """
        if not 0 < fraction < 1:
            raise BadData(f"A validation split of {fraction} is not between 0 and 1.")
        held, kept = split_rows(self.train, fraction, seed)
        train = self.train.subset(kept)
        for c, count in enumerate(self.train.counts):
            if not 0 < train.counts[c] < count:
                raise BadData(
                    f"{self.card.name}: a validation split of {fraction} takes {count - train.counts[c]} of the"
                    f" {count} items of class {c}: at least one must go and one must stay."
                )
        return replace(
            self, card=replace(self.card, counts=train.counts), train=train, validation=self.train.subset(held)
        )


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


def _images(name: str, split: str, images: np.ndarray | Inputs) -> Inputs:
    if isinstance(images, Items):
        return images
    images = images if isinstance(images, Tensor) else np.asarray(images)
    x = _tensor(images) if isinstance(images, np.ndarray) else images
    if x is None or not (x.dtype == torch.uint8 or x.is_floating_point()):
        raise BadData(f"{name}: {split} images are {images.dtype}. Save them as uint8, or as floats in [0, 1].")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.movedim(3, 1).contiguous()
    if x.ndim != 4 or not x.numel():
        raise BadData(
            f"{name}: {split} images have the shape {tuple(images.shape)}. Wanted: some of (n, h, w), (n, c, h, w) or"
            " (n, h, w, c)."
        )
    if x.dtype == torch.uint8:
        return x
    x = x.float()
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten()
    if len(bad):
        raise BadData(
            f"{name}: {len(bad)} {split} images hold NaN or infinity, the first at {int(bad[0])}. Mend or drop them."
        )
    return x


def _tensor(images: np.ndarray) -> Tensor | None:
    """uint8 as they are, floats of any width and byte order as float32, None for all else.

    Copied only where torch cannot share them.
    """
    if images.dtype != np.uint8:
        if images.dtype.kind != "f":
            return None
        with np.errstate(over="ignore"):
            images = images.astype(np.float32, copy=False)
    return torch.from_numpy(np.require(images, requirements=("C", "W")))


def _labels(name: str, split: str, labels: np.ndarray | Tensor) -> Tensor:
    y = torch.as_tensor(np.asarray(labels).astype(np.int64, casting="same_kind") if _whole(labels) else [])
    y = y.flatten()
    if not len(y):
        raise BadData(
            f"{name}: {split} labels are {labels.dtype} {tuple(labels.shape)}. Wanted: whole numbers, one an item."
        )
    return y


def _whole(labels: np.ndarray | Tensor) -> bool:
    array = np.asarray(labels)
    return array.dtype.kind in "iu" and (array.ndim == 1 or array.shape[1:] == (1,))


def _store(name: str, split: str, x: Inputs, y: Tensor, classes: int) -> Store:
    if len(x) != len(y):
        raise BadData(f"{name}: {split} has {len(x)} images and {len(y)} labels. Each image needs one label.")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise BadData(f"{name}: a {split} label is {wrong}, outside 0 to {classes - 1}. Number the classes from 0.")
    return Store.of(x, y, classes)
