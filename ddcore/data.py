"""A real data set with its splits, and the checks of what a user hands over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddcore.arrays import AXES, LAYOUTS, Layout, as_array, by_split, channels_first, numbers, one_range
from ddcore.errors import BadData
from ddcore.store import Inputs, Items, Store, split_rows
from ddcore.types import Column, DataCard

Split = tuple[np.ndarray | Inputs, np.ndarray | Tensor]
"""Items of a split, and their labels or values."""
HELD_OUT = 0.1
"""Share of the items that is the test split where a data set brings none."""


@dataclass(frozen=True)
class RealData:
    """A data set: the real set T to distil, the test split, and a validation split where one was set aside."""

    card: DataCard
    train: Store
    test: Store
    validation: Store | None = None
    notes: tuple[str, ...] = ()
    """What the data were read as and what was changed in reading them, in sentences for the user."""

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
        test: Split | None,
        *,
        kind: str | None = None,
        layout: Layout | None = None,
        white: float | None = None,
        apart: bool = True,
        validation: Split | None = None,
        classes: int | None = None,
        class_names: Sequence[str] = (),
        flips: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        columns: Sequence[Column] = (),
        target: Column | None = None,
        notes: Sequence[str] = (),
    ) -> RealData:
        """Items and labels of each split, checked; without ``test`` a stratified tenth of train, always the same.

        ``kind`` says what an item is. By default train's arrays (n, d) are vectors, all others images; signals must be
        called so. ``layout`` says which axis holds the channels of images (``nchw``, ``nhwc``) or of signals (``nct``,
        ``ntc``), and may be left out where it is plain (:func:`~ddcore.arrays.channels_first`). ``white`` is the value
        of images that stands for 1, and may be left out likewise (:func:`~ddcore.arrays.one_range`): one range for all
        splits. ``Items`` are taken as they are, and so is the shape of arrays of a plugin's kind.

        Labels are whole numbers from 0, of which each has an item in train, or floats (n,) or (n, v), which are values
        to predict. ``apart``, ``columns`` and ``target``: see :class:`~ddcore.types.DataCard`. ``notes`` are added to
        those of the arrays.

        Raises:
            BadData: in a sentence that says which split, what is wrong, and what to do.
        """
        given = {"train": train, "test": test, "validation": validation}
        splits = {s: pair for s, pair in given.items() if pair is not None}
        arrays = {
            s: x if isinstance(x, Items) else as_array(f"{name}: the items of {s}", x) for s, (x, _) in splits.items()
        }
        for text in (name, *class_names):
            if not text.isascii() and text.encode(errors="replace").decode() != text:
                raise BadData(f"{text!a} is not a name that can be written as text. Give another.")
        if layout not in (None, *AXES):
            raise BadData(f"{name}: layout={layout!r} is unknown. Known: {', '.join(AXES)}.")
        kind = kind or (AXES[layout][0] if layout else "vector" if len(arrays["train"].shape) == 2 else "image")
        if layout and AXES[layout][0] != kind:
            raise BadData(f"{name}: layout={layout!r} is of {AXES[layout][0]}s, and these are {kind}s. Leave it out.")
        if white is not None and not 0 < white < float("inf"):
            raise BadData(f"{name}: white={white} must be a number above 0.")
        inputs, said = _inputs(name, kind, arrays, layout, white)
        targets = {s: _targets(name, s, kind, y, len(arrays[s])) for s, (_, y) in splits.items()}
        valued, known = _known(name, targets, classes, class_names)
        stores = {s: _store(name, s, x, targets[s], known) for s, x in inputs.items()}
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
        if test is None:
            stores["train"], stores["test"] = _held_out(name, stores["train"])
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
            valued,
            unit_range=kind in LAYOUTS and all(store.inputs.dtype == torch.uint8 for store in stores.values()),
            columns=tuple(columns),
            target=target,
        )
        roles = {"train": "to train on", "test": "to test on", "validation": "to choose on"}
        sizes = ", ".join(f"{len(store)} {roles[split]}" for split, store in stores.items())
        aside = " (set aside from those to train on)" if test is None else ""
        read = f"{kind.capitalize()}s of {'x'.join(map(str, shape))}: {sizes}{aside}{said}."
        return RealData(card, stores["train"], stores["test"], stores.get("validation"), (read, *notes))

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


def _inputs(
    name: str, kind: str, splits: Mapping[str, Any], layout: Layout | None, white: float | None
) -> tuple[dict[str, Inputs], str]:
    """The inputs of each split as networks of the ``kind`` take them, and how their arrays were read."""
    found, axes = {}, {}
    for split, given in splits.items():
        if not isinstance(given, Items):
            where = f"{name}: {split} {kind}s"
            found[split], axes[split] = channels_first(where, numbers(where, given), kind, layout)
    if not found:
        return dict(splits), ""
    found, values = one_range(name, kind, found, white)
    order = by_split(axes)
    return {**splits, **found}, f"{order and f'; axes {order}'}; values {values}"


def _targets(name: str, split: str, kind: str, given: np.ndarray | Tensor, count: int) -> Tensor:
    """Classes (n,), or values (n, v) where floats were given, of ``count`` items."""
    found = as_array(f"{name}: {split} labels", given)
    if found.ndim and len(found) != count:
        raise BadData(f"{name}: {split} has {count} {kind}s and {len(found)} labels. Each {kind} needs one label.")
    if isinstance(found, Tensor):
        found = found.float() if found.is_floating_point() else found
        found = found.numpy()
    if found.dtype.kind == "f" and found.ndim in (1, 2) and found.size:
        with np.errstate(over="ignore"):
            values = torch.from_numpy(found.reshape(len(found), -1).astype(np.float32))
        if not values.isfinite().all():
            raise BadData(f"{name}: {split} values hold NaN or infinity. Repair or drop their items.")
        return values
    if found.dtype.kind not in "biu" or not found.size or not (found.ndim == 1 or found.shape[1:] == (1,)):
        raise BadData(
            f"{name}: {split} labels are {found.dtype} {found.shape}. Wanted: whole numbers, one per item; or floats"
            " (n,) or (n, v), which are values to predict."
        )
    if int(found.max()) > torch.iinfo(torch.int64).max:
        raise BadData(f"{name}: a {split} label is {int(found.max())}. Number the classes from 0, without gaps.")
    return torch.from_numpy(found.astype(np.int64).flatten())


def _known(
    name: str, targets: Mapping[str, Tensor], classes: int | None, class_names: Sequence[str]
) -> tuple[int | None, int]:
    """How many values each target has, None for classes; and how many classes there are, 1 for values."""
    widths = {s: y.shape[1] if y.ndim == 2 else None for s, y in targets.items()}
    for split, width in widths.items():
        if width != widths["train"]:
            said = [f"{w} values per item" if w else "classes" for w in (width, widths["train"])]
            raise BadData(
                f"{name}: the labels of {split} are {said[0]}, those of train {said[1]}: give all splits classes"
                " (whole numbers), or all as many values (floats)."
            )
    train = targets["train"]
    known = 1 if widths["train"] else classes or max(len(class_names), int(train.max()) + 1)
    if known > len(train):
        named = f"{known} classes" if classes or len(class_names) == known else f"the label {known - 1}"
        raise BadData(
            f"{name}: train has {named}, but only {len(train)} items, and each class needs one. Number the classes"
            " from 0, without gaps."
        )
    if len(class_names) not in (0, known):
        raise BadData(f"{name}: {len(class_names)} class names for {known} classes. Give one name per class, or none.")
    if twice := [each for each, count in Counter(class_names).items() if count > 1]:
        raise BadData(f"{name}: two classes are named {twice[0]!r}. Give each class a name of its own.")
    return widths["train"], known


def _held_out(name: str, store: Store) -> tuple[Store, Store]:
    """Train and test of a set that came in one piece."""
    held, kept = (store.subset(rows) for rows in split_rows(store, HELD_OUT, seed=0))
    if not len(held):
        raise BadData(
            f"{name} has no test split, and no class of it has enough items to set a tenth aside: the largest has"
            f" {max(store.counts)}. Bring a test split."
        )
    return kept, held


def _store(name: str, split: str, x: Inputs, y: Tensor, classes: int) -> Store:
    if y.ndim == 1 and (int(y.min()) < 0 or int(y.max()) >= classes):
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise BadData(f"{name}: a {split} label is {wrong}, outside 0 to {classes - 1}. Number the classes from 0.")
    return Store.of(x, y, classes)
