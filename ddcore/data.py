"""A real data set with its splits, and the checks of what a user hands over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ddcore.errors import BadData
from ddcore.store import Inputs, Items, Store, split_rows
from ddcore.types import DataCard

Split = tuple[np.ndarray | Inputs, np.ndarray | Tensor]
"""Items of a split, and their labels or values."""
LAYOUTS: Mapping[str, str] = MappingProxyType(
    {"image": "(n, h, w), (n, c, h, w) or (n, h, w, c)", "vector": "(n, d)", "signal": "(n, c, t) or (n, t)"}
)
"""How arrays of the core's kinds of items may be laid out."""


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

        Raises:
            BadData: the items know each other.
        """
        _apart(card)
        wanted = torch.tensor(classes)
        store = store.subset(torch.isin(store.targets, wanted).nonzero().flatten())
        own = replace(store, targets=torch.searchsorted(wanted, store.targets), classes=len(wanted))
        names = tuple(card.class_names[c] for c in classes) if card.class_names else ()
        return RealData(replace(card, classes=len(wanted), counts=own.counts, class_names=names), own, own)

    @staticmethod
    def of(
        name: str,
        train: Split,
        test: Split,
        *,
        kind: str | None = None,
        apart: bool = True,
        validation: Split | None = None,
        classes: int | None = None,
        class_names: Sequence[str] = (),
        flips: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> RealData:
        """Items and labels of each split, checked.

        ``kind`` says what an item is. By default train's arrays (n, d) are vectors, all others images; signals must be
        called so. Arrays are uint8 or finite floats, laid out as :data:`LAYOUTS` says; ``Items`` are taken as they are,
        and so is the shape of arrays of a plugin's kind. Labels are whole numbers from 0, or floats (n,) or (n, v),
        which are values to predict. ``apart``: see :class:`~ddcore.types.DataCard`.

        Raises:
            BadData: in a sentence that says which split, what is wrong, and what to do.
        """
        splits = {"train": train, "test": test} | ({"validation": validation} if validation else {})
        kind = kind or ("vector" if not isinstance(train[0], Items) and len(np.shape(train[0])) == 2 else "image")
        arrays = {s: (_inputs(name, s, kind, x), _targets(name, s, y)) for s, (x, y) in splits.items()}
        widths = {s: y.shape[1] if y.ndim == 2 else None for s, (_, y) in arrays.items()}
        for split, width in widths.items():
            if width != widths["train"]:
                said = [f"{w} values per item" if w else "classes" for w in (width, widths["train"])]
                raise BadData(
                    f"{name}: the labels of {split} are {said[0]}, those of train {said[1]}: give all splits classes"
                    " (whole numbers), or all as many values (floats)."
                )
        valued = widths["train"] is not None
        known = 1 if valued else classes or max(len(class_names), int(arrays["train"][1].max()) + 1)
        stores = {s: _store(name, s, kind, x, y, known) for s, (x, y) in arrays.items()}
        if len(class_names) not in (0, known):
            raise BadData(
                f"{name}: {len(class_names)} class names for {known} classes. Give one name a class, or none."
            )
        shape = tuple(stores["train"].inputs.shape[1:])
        for split, store in stores.items():
            if tuple(store.inputs.shape[1:]) != shape:
                raise BadData(
                    f"{name}: {split} {kind}s are {tuple(store.inputs.shape[1:])}, those of train {shape}."
                    f" All splits must have {kind}s of one shape."
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
            flips and kind == "image",
            tuple(class_names),
            tuple(mean) if mean else None,
            tuple(std) if std else None,
            kind,
            apart,
            widths["train"],
        )
        return RealData(card, stores["train"], stores["test"], stores.get("validation"))

    def subset(self, rows: Tensor) -> RealData:
        """The same problem, of whose training items only those at ``rows`` are there; some classes may have none.

        Raises:
            BadData: the items know each other.
        """
        _apart(self.card)
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


def _apart(card: DataCard) -> None:
    if not card.apart:
        raise BadData(
            f"The items of {card.name} know each other (apart = false): a part of them still shows the others, so they"
            " cannot be split among owners."
        )


def _inputs(name: str, split: str, kind: str, given: np.ndarray | Inputs) -> Inputs:
    if isinstance(given, Items):
        return given
    given = given if isinstance(given, Tensor) else np.asarray(given)
    x = _tensor(given) if isinstance(given, np.ndarray) else given
    if x is None or not (x.dtype == torch.uint8 or x.is_floating_point()):
        raise BadData(
            f"{name}: {split} {kind}s are {given.dtype}. Save them as uint8, which stand for [0, 1], or as floats."
        )
    others = [f'kind = "{other}"' for other in LAYOUTS if x.numel() and _laid_out(x, other) is not None]
    x = _laid_out(x, kind)
    if x is None or not x.numel():
        raise BadData(
            f"{name}: {split} {kind}s have the shape {tuple(given.shape)}. Wanted: some of"
            f" {LAYOUTS.get(kind, '(n, ...)')}." + (f" Or say what they are: {' or '.join(others)}." if others else "")
        )
    if x.dtype == torch.uint8:
        return x
    x = x.float()
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten()
    if len(bad):
        raise BadData(
            f"{name}: {len(bad)} {split} {kind}s hold NaN or infinity, the first at {int(bad[0])}. Mend or drop them."
        )
    return x


def _laid_out(x: Tensor, kind: str) -> Tensor | None:
    """``x`` with its axes as networks of the ``kind`` take them; None where it has others."""
    if kind == "image":
        if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
            return x.movedim(3, 1).contiguous()
        return x[:, None] if x.ndim == 3 else x if x.ndim == 4 else None
    if kind == "signal":
        return x[:, None] if x.ndim == 2 else x if x.ndim == 3 else None
    return x if x.ndim == 2 or (kind != "vector" and x.ndim > 1) else None


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


def _targets(name: str, split: str, given: np.ndarray | Tensor) -> Tensor:
    """Classes (n,), or values (n, v) where floats were given."""
    array = np.asarray(given)
    if array.dtype.kind == "f" and array.ndim in (1, 2) and array.size:
        values = torch.from_numpy(array.reshape(len(array), -1).astype(np.float32))
        if not values.isfinite().all():
            raise BadData(f"{name}: {split} values hold NaN or infinity. Mend or drop their items.")
        return values
    if array.dtype.kind not in "iu" or not array.size or not (array.ndim == 1 or array.shape[1:] == (1,)):
        raise BadData(
            f"{name}: {split} labels are {array.dtype} {array.shape}. Wanted: whole numbers, one per item; or floats"
            " (n,) or (n, v), which are values to predict."
        )
    return torch.from_numpy(array.astype(np.int64).flatten())


def _store(name: str, split: str, kind: str, x: Inputs, y: Tensor, classes: int) -> Store:
    if len(x) != len(y):
        raise BadData(f"{name}: {split} has {len(x)} {kind}s and {len(y)} labels. Each {kind} needs one label.")
    if y.ndim == 1 and (int(y.min()) < 0 or int(y.max()) >= classes):
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise BadData(f"{name}: a {split} label is {wrong}, outside 0 to {classes - 1}. Number the classes from 0.")
    return Store.of(x, y, classes)
