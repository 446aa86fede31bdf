"""Arrays in one .npz file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ddcore.data import LAYOUTS, RealData, Split
from ddcore.datasets.base import DataSet, held_out
from ddcore.errors import BadData


@dataclass(frozen=True)
class Npz(DataSet):
    """One ``.npz`` file with ``train_images``, ``train_labels``, ``test_images``, ``test_labels``.

    ``val_images`` and ``val_labels`` are the validation split where present, ``class_names`` the names. Of a file with
    only ``images`` and ``labels`` a stratified tenth, always the same, is held out for testing. ``x`` and ``y`` may
    stand for ``images`` and ``labels`` everywhere. Arrays (n, d) are vectors, all others images; where they are not, as
    signals (n, c, t) are not, ``items`` says what they are, or an entry ``kind`` of the file. Labels that are floats
    are values to predict.
    """

    root: str
    """The file."""
    items: Literal["image", "vector", "signal"] | None = None
    """The kind of its items; None for what the file says, or its arrays show."""

    def item_kind(self) -> str:
        path = self._path()
        arrays = _arrays(path, lambda name: name == "kind" or name in ("train_images", "train_x", "images", "x"))
        return self._kind(path, arrays) or (
            "vector" if any(array.ndim == 2 for name, array in arrays.items() if name != "kind") else "image"
        )

    def load(self) -> RealData:
        path = self._path()
        arrays = _arrays(path)
        kind = self._kind(path, arrays)

        def pair(prefix: str) -> Split | None:
            keys = [(f"{prefix}images", f"{prefix}labels"), (f"{prefix}x", f"{prefix}y")]
            return next(((arrays[a], arrays[b]) for a, b in keys if a in arrays and b in arrays), None)

        train, test = pair("train_"), pair("test_")
        if train is None and (whole := pair("")) is not None:
            checked = RealData.of(path.stem, whole, whole, kind=kind)
            kind, train, test = checked.card.kind, *held_out(path.stem, checked.train)
        if train is None or test is None:
            raise BadData(
                f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}. Wanted: train_images, train_labels,"
                " test_images, test_labels; or images and labels; or x and y in their place."
            )
        given = arrays["class_names"].tolist() if "class_names" in arrays else []
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in given]
        return RealData.of(path.stem, train, test, kind=kind, validation=pair("val_"), class_names=names)

    def _path(self) -> Path:
        return Path(self.root).expanduser()

    def _kind(self, path: Path, arrays: Mapping[str, np.ndarray]) -> str | None:
        """What the field or the file says of the items. Raises BadData where the file says what nothing answers to."""
        said = str(arrays["kind"].tolist()) if "kind" in arrays else None
        if said not in (None, *LAYOUTS):
            raise BadData(f"{path} says kind = {said!r}. Known: {', '.join(LAYOUTS)}.")
        return self.items or said


def _arrays(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    if not path.exists():
        raise BadData(f"There is no file {path}.")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if wanted(name)}
    except Exception as error:  # zip, zlib and numpy each have their own for a damaged or hostile file
        raise BadData(
            f"{path} cannot be read as plain arrays ({error}). Save it with np.savez; objects are not loaded."
        ) from error
