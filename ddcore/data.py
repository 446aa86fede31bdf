"""A real data set with its splits, and the checks of what a user hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ddcore.errors import BadData
from ddcore.store import Inputs, Items, Store, split_rows
from ddcore.types import DataCard

Split = tuple[np.ndarray | Inputs, np.ndarray | Tensor]
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
        own = replace(store, targets=torch.searchsorted(wanted, store.targets), classes=len(wanted))
        names = tuple(card.class_names[c] for c in classes) if card.class_names else ()
        return RealData(replace(card, classes=len(wanted), counts=own.counts, class_names=names), own, own)

    @staticmethod
    def of(
        name: str,
        train: Split,
        test: Split,
        *,
        validation: Split | None = None,
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
