"""Arrays in one .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddcore.data import RealData, Split
from ddcore.datasets.base import DataSet, held_out
from ddcore.errors import BadData


@dataclass(frozen=True)
class Npz(DataSet):
    """One ``.npz`` file with ``train_images``, ``train_labels``, ``test_images``, ``test_labels``.

    ``val_images`` and ``val_labels`` are the validation split where present, ``class_names`` the names. Of a file with
    only ``images`` and ``labels`` (or ``x`` and ``y``) a stratified tenth, always the same, is held out for testing.
    """

    root: str
    """The file."""

    def load(self) -> RealData:
        path = Path(self.root).expanduser()
        arrays = _arrays(path)

        def pair(prefix: str) -> Split | None:
            keys = [(f"{prefix}images", f"{prefix}labels"), (f"{prefix}x", f"{prefix}y")]
            return next(((arrays[a], arrays[b]) for a, b in keys if a in arrays and b in arrays), None)

        train, test = pair("train_"), pair("test_")
        if train is None and (whole := pair("")) is not None:
            checked = RealData.of(path.stem, whole, whole).train
            train, test = held_out(path.stem, checked.inputs, checked.targets)
        if train is None or test is None:
            raise BadData(
                f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}. Wanted: train_images, train_labels,"
                " test_images, test_labels; or images and labels."
            )
        given = arrays["class_names"].tolist() if "class_names" in arrays else []
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in given]
        return RealData.of(path.stem, train, test, validation=pair("val_"), class_names=names)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise BadData(f"There is no file {path}.")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip, zlib and numpy each have their own for a damaged or hostile file
        raise BadData(
            f"{path} cannot be read as plain arrays ({error}). Save it with np.savez; objects are not loaded."
        ) from error
