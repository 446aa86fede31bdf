"""Arrays in one .npz file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from ddcore.arrays import AXES, LAYOUTS, Layout
from ddcore.bounds import Positive, Whole
from ddcore.data import RealData, Split
from ddcore.datasets.base import SPLITS, DataSet, check_unpacked
from ddcore.errors import BadData

ITEMS = (("images", "labels"), ("x", "y"))
"""What items and their labels are called."""
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


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
    layout: Layout | None = None
    """The order of the axes of images (``nchw``, ``nhwc``) or signals (``nct``, ``ntc``); None where it is plain."""
    white: Positive | None = None
    """The value that stands for white in all splits, such as 255 or 4095; 1 for values to be used as they are; None
    where it is plain."""
    memory: Whole | None = None
    """Bytes that its compressed arrays may unpack to; None for twenty times their own, and 64 MiB in any case."""

    def item_kind(self) -> str:
        with _Archive(Path(self.root).expanduser(), self.memory) as archive:
            if kind := self._kind(archive):
                return kind
            names = [f"{prefix}{x}" for prefix in ("train_", "training_", "") for x, _ in ITEMS]
            found = next((name for name in names if name in archive.entries), None)
            return "vector" if found and len(archive.shape(found)) == 2 else "image"

    def load(self) -> RealData:
        path = Path(self.root).expanduser()
        with _Archive(path, self.memory) as archive:
            kind = self._kind(archive)
            splits = {split: _pair(archive, [f"{word}_" for word in words]) for split, words in SPLITS.items()}
            chosen = {split: pair for split, pair in splits.items() if pair}
            if not chosen and (whole := _pair(archive, [""])):
                chosen = {"train": whole}
            elif not {"train", "test"} <= set(chosen):
                raise BadData(
                    f"{path} holds {', '.join(sorted(archive.entries)) or 'nothing'}. Wanted: train_images,"
                    " train_labels, test_images, test_labels; or images and labels; or x and y in their place."
                )
            named = ["class_names"] if "class_names" in archive.entries else []
            arrays = archive.read([*(name for pair in chosen.values() for name in pair), *named])
            unread = sorted(set(archive.entries) - set(arrays) - {"kind"})
        pairs: dict[str, Split] = {split: (arrays[x], arrays[y]) for split, (x, y) in chosen.items()}
        return RealData.of(
            path.stem,
            pairs["train"],
            pairs.get("test"),
            validation=pairs.get("validation"),
            kind=kind,
            layout=self.layout,
            white=self.white,
            class_names=_texts(path, "class_names", arrays["class_names"]) if named else (),
            notes=[f"Not read: {', '.join(unread)}."] if unread else (),
        )

    def _kind(self, archive: _Archive) -> str | None:
        """What the fields or the file say of the items. Raises BadData where the file says what nothing answers to."""
        said = []
        if "kind" in archive.entries:
            said = _texts(archive.path, "kind", archive.read(["kind"])["kind"].reshape(-1))
            if len(said) != 1 or said[0] not in LAYOUTS:
                raise BadData(f"{archive.path} says kind = {', '.join(said)!r}. Known: {', '.join(LAYOUTS)}.")
        return self.items or (AXES[self.layout][0] if self.layout else next(iter(said), None))


def _pair(archive: _Archive, prefixes: list[str]) -> tuple[str, str] | None:
    """The names of the items and labels of a split. Raises BadData where several would do."""
    pairs = [(f"{prefix}{x}", f"{prefix}{y}") for prefix in prefixes for x, y in ITEMS]
    found = [pair for pair in pairs if set(pair) <= set(archive.entries)]
    if len(found) > 1:
        both = " and ".join(x for x, _ in found)
        raise BadData(f"{archive.path} holds {both}, which mean the same split. Leave one of them out.")
    return found[0] if found else None


def _texts(path: Path, name: str, given: np.ndarray) -> list[str]:
    """The entries of ``given`` (k,) as text. Raises BadData where they are none."""
    try:
        if given.ndim != 1 or given.dtype.kind not in "USiu":
            raise ValueError(f"it is {given.dtype} {given.shape}")
        return [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in given.tolist()]
    except (ValueError, SystemError) as error:  # the latter for what is no Unicode
        raise BadData(f"{path}: {name} is not readable text ({error}). Save one text per class.") from error


class _Archive:
    """The arrays of an ``.npz`` file, whose sizes are checked before any is read."""

    def __init__(self, path: Path, memory: int | None) -> None:
        """Raises BadData where it is no ``.npz`` file, or holds two arrays of one name."""
        if not path.is_file():
            raise BadData(f"There is no file {path}.")
        self.path, self.memory = path, memory
        self.entries: dict[str, ZipInfo] = {}
        try:
            self.file = ZipFile(path)
        except Exception as error:  # zipfile has several for a damaged file
            raise self._refusal(error) from error
        for entry in self.file.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in self.entries:
                raise self._refusal(ValueError(f"it holds {name} twice"))
            self.entries[name] = entry

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that the header of ``name`` declares, which is that of its bytes."""
        entry = self.entries[name]
        try:
            if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that numpy does not use")
            with self.file.open(entry) as opened:
                shape, _, dtype = HEADERS[npy.read_magic(opened)](opened)
                held = entry.file_size - opened.tell()
            if dtype.hasobject or not dtype.itemsize:
                raise ValueError(f"{name} holds {dtype}, which is not loaded")
            if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
                raise ValueError(f"{name} declares {shape} of {dtype}, and holds {held} bytes")
            return shape
        except Exception as error:  # zip, zlib and numpy each have their own for a damaged or hostile file
            raise self._refusal(error) from error

    def read(self, names: list[str]) -> dict[str, np.ndarray]:
        """The arrays called ``names``. Raises BadData where they are damaged, or unpack to more than is allowed."""
        for name in names:
            self.shape(name)
        entries = [self.entries[name] for name in names]
        packed, unpacked = (
            sum(sizes) for sizes in zip(*((e.compress_size, e.file_size) for e in entries), strict=True)
        )
        check_unpacked(self.path, packed, unpacked, self.memory)
        try:
            return {name: _read(self.file.open(entry)) for name, entry in zip(names, entries, strict=True)}
        except Exception as error:  # as above
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> BadData:
        return BadData(
            f"{self.path} cannot be read as plain arrays ({error}). Save it with np.savez; objects are not loaded."
        )


def _read(opened: IO[bytes]) -> np.ndarray:
    with opened:
        found = npy.read_array(opened, allow_pickle=False)
        opened.read(1)  # the checksum is compared at the end
        return found
