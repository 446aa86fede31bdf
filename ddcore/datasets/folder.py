"""A folder of images, one folder per class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddcore.bounds import Count, Whole
from ddcore.data import RealData
from ddcore.datasets.base import DataSet, held_out
from ddcore.errors import BadData
from ddcore.store import Inputs, Items, Store, picked


@dataclass(frozen=True)
class ImageFolder(DataSet):
    """Images in ``root/train/<class>/`` and ``root/test/<class>/`` (or ``val``), or directly in ``root/<class>/``.

    Where there are both test and val, val is the validation split; where there is neither, a stratified tenth, always
    the same, is held out for testing.
    """

    root: str
    """The folder."""
    size: Count | None = None
    """Side in pixels: images are resized so that the shorter side has it, then cropped in the centre. None where all
    images have the same size."""
    channels: Count | None = None
    """Channels, 1 or 3; None for 1 where all images are grey, else 3."""
    memory: Whole = 2 * 2**30
    """Bytes up to which decoded images are kept in memory. Beyond, they stay on disk and are decoded whenever they are
    taken, and the first ones up to ``memory`` are kept; before the run only their headers are read."""

    def faults(self) -> Iterator[str]:
        if self.channels not in (None, 1, 3):
            yield f"channels = {self.channels}: it must be 1 or 3"

    def load(self) -> RealData:
        """Raises BadData, and names the file: an empty class, a stray file or folder, an image that cannot be used."""
        root = Path(self.root).expanduser().resolve()
        folders = _splits(root)
        files = {split: _by_class(folder) for split, folder in folders.items()}
        names = list(files["train"])
        for split, folder in folders.items():
            for c in sorted(set(names) ^ set(files[split])):
                raise BadData(f"{folders['train']} and {folder} differ in the class {c}. Wanted: the same folders.")
        every = [path for classes in files.values() for c in names for path in classes[c]]
        images: Inputs = Pictures(tuple(every), *self._form(every), {}, self.memory)
        if images.nbytes <= self.memory:
            images = replace(images, memory=0)[torch.arange(len(every))]
        pairs, start = {}, 0
        for split, classes in files.items():
            labels = torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[c]) for c in names]))
            pairs[split] = picked(images, torch.arange(start, start + len(labels))), labels
            start += len(labels)
        if "test" not in pairs:
            pairs["train"], pairs["test"] = held_out(
                root.name, Store.of(pairs["train"][0], pairs["train"][1], len(names))
            )
        return RealData.of(root.name, **pairs, class_names=names)

    def _form(self, paths: Sequence[Path]) -> tuple[int, int]:
        """Side and channels of the images at ``paths``. Raises BadData where sides differ and no size is given."""
        first, grey = None, True
        for path in paths:
            with _opened(path) as image:
                grey = grey and image.mode in GREY
                sides = image.size
            first = first or sides
            if self.size is None and sides != first:
                raise BadData(
                    f"{path} is {sides[0]}x{sides[1]}, but {paths[0]} is {first[0]}x{first[1]}. Give the side that all"
                    " images are to be resized to: --size, or size=."
                )
        assert first is not None
        return self.size or min(first), self.channels or (1 if grey else 3)


@dataclass(frozen=True, eq=False)
class Pictures(Items):
    """Image files (n, channels, size, size), resized and cropped in the centre when they are taken.

    ``kept`` holds those that were taken first, up to ``memory`` bytes, for all that came from these by :meth:`at`.
    """

    paths: tuple[Path, ...]
    size: int
    channels: int
    kept: dict[Path, Tensor]
    memory: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), self.channels, self.size, self.size

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Raises BadData where a file is not an image that can be read."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        paths = [self.paths[row] for row in rows.tolist()]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for place, image in enumerate(pool.map(self._image, paths)):
                found[place] = image
                if paths[place] not in self.kept and (len(self.kept) + 1) * image.nbytes <= self.memory:
                    self.kept[paths[place]] = image
        return found

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of modification, and of how they are cropped: none is read."""
        digest = hashlib.sha256(f"{self.size} {self.channels}".encode())
        for path in self.paths:
            told = path.stat()
            digest.update(f"\n{path.parent.name}/{path.name} {told.st_size} {told.st_mtime_ns}".encode())
        return digest.hexdigest()

    def at(self, rows: Tensor) -> Pictures:
        return replace(self, paths=tuple(self.paths[row] for row in rows.tolist()))

    def _image(self, path: Path) -> Tensor:
        if path in self.kept:
            return self.kept[path]
        with _opened(path) as image:
            pixels = np.array(image.convert("L" if self.channels == 1 else "RGB"))
        return _cropped(torch.from_numpy(pixels).view(*pixels.shape[:2], -1).movedim(2, 0), self.size)


GREY = ("1", "L", "LA")
"""Pillow's modes of images without colour."""


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split in ``root``."""
    if not root.is_dir():
        raise BadData(f"There is no folder {root}.")
    there = {name: root / name for name in ("train", "test", "val") if (root / name).is_dir()}
    if not there:
        return {"train": root}
    if "train" not in there:
        raise BadData(f"{root} has a folder {min(there)}, but no folder train. Wanted: {root}/train/<class>/<image>.")
    if "val" in there:
        there["validation" if "test" in there else "test"] = there.pop("val")
    return there


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class's folder in ``folder``, by name; hidden ones are passed over."""
    found = {}
    for path in _shown(folder):
        if not path.is_dir():
            raise BadData(f"{path} lies next to the classes' folders. Move it into one of them, or remove it.")
        found[path.name] = _shown(path)
        if not found[path.name]:
            raise BadData(f"{path} holds no image: a class needs at least one.")
        for below in found[path.name]:
            if not below.is_file():
                raise BadData(f"{below} is not a file. Wanted: images directly in the folder of their class.")
    if not found:
        raise BadData(
            f"{folder} holds no folder. Wanted: one folder of images per class, here or in a folder train with a folder"
            " test next to it."
        )
    return found


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image at ``path`` while it is open. Raises BadData for whatever stands in the way of reading it."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":
                raise ValueError(f"{image.mode}: more than 8 bits per channel. Save it with 8")
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadData(f"{path} is not an image that can be read ({error}). Repair or remove it.") from error


def _cropped(image: Tensor, size: int) -> Tensor:
    from torchvision.transforms.v2 import functional as tv

    return tv.center_crop(tv.resize(image, [size], antialias=True), [size, size])
