"""A folder of images, one folder per class."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Le

from ddcore.bounds import Count, Whole
from ddcore.data import RealData
from ddcore.datasets.base import SPLITS, DataSet
from ddcore.datasets.pictures import Header, Pictures, threads_for
from ddcore.errors import BadData
from ddcore.store import Inputs, picked

SYSTEM = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""What systems leave behind in folders, besides hidden files."""
HIDDEN = "hidden or system files passed over"


@dataclass(frozen=True)
class ImageFolder(DataSet):
    """Images in ``root/train/<class>/`` and ``root/test/<class>/`` (or ``val``), or directly in ``root/<class>/``.

    Where there are both test and val, val is the validation split; where there is neither, a stratified tenth, always
    the same, is held out for testing. Upper case, ``training``, ``testing``, ``valid`` and ``validation`` will do.

    Images are turned as their EXIF orientation says, transparency is laid on white, and colours are converted to RGB,
    all of which is counted in the notes of the data. PNG, JPEG, BMP, GIF, PPM, TIFF and WebP are read, with one image
    per file and 8 bits per channel.
    """

    root: str
    """The folder."""
    size: Annotated[int, Ge(1), Le(4096)] | None = None
    """Side in pixels: images are resized so that the shorter side has it, then cropped in the centre. None where all
    images have the same size, which they keep."""
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
        changes: Counter[str] = Counter()
        folders, notes = _splits(root, changes)
        files = {split: _by_class(folder, changes) for split, folder in folders.items()}
        names = list(files["train"])
        for split, folder in folders.items():
            for c in sorted(set(names) ^ set(files[split])):
                raise BadData(f"{folders['train']} and {folder} differ in the class {c}. Wanted: the same folders.")
        every = [path for classes in files.values() for c in names for path in classes[c]]
        images: Inputs = self._pictures(every, changes, notes)
        if images.nbytes <= self.memory:
            images = replace(images, memory=0)[torch.arange(len(every))]
        pairs, start = {}, 0
        for split, classes in files.items():
            labels = torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[c]) for c in names]))
            pairs[split] = picked(images, torch.arange(start, start + len(labels))), labels
            start += len(labels)
        notes += [f"{count} {what}." for what, count in changes.items() if count]
        return RealData.of(
            root.name,
            pairs.pop("train"),
            pairs.pop("test", None),
            **pairs,
            class_names=names,
            layout="nchw",
            white=255,
            notes=notes,
        )

    def _pictures(self, paths: Sequence[Path], changes: Counter[str], notes: list[str]) -> Pictures:
        """The images at ``paths``, unread; what decoding does to them is counted in ``changes`` and said in ``notes``.

        Raises:
            BadData: their sides differ, and no size is given.
        """
        headers = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for path in paths:
                headers.append(header := Header.of(path))
                first = headers[0]
                if self.size is None and (header.height, header.width) != (first.height, first.width):
                    raise BadData(
                        f"{path} is {header.width}x{header.height}, but {paths[0]} is {first.width}x{first.height}."
                        " Give the side that all images are to be resized to: --size, or size=."
                    )
                notes += [f"{path}: {warning.message}." for warning in caught]
                caught.clear()
        grey = sum(header.grey for header in headers)
        channels = self.channels or (1 if grey == len(headers) else 3)
        changes.update(f"images {said}" for header in headers for said in header.changes)
        changes["grey images among coloured ones given three equal channels"] = grey if channels == 3 else 0
        changes["coloured images turned grey"] = len(headers) - grey if channels == 1 else 0
        if self.size:
            sides = [(header.height, header.width) for header in headers]
            side = f"{self.size}x{self.size}"
            changes[f"images resized to {side}"] = sum(each != (self.size, self.size) for each in sides)
            lost = max(1 - min(each) / max(each) for each in sides)
            cropped = f"images cropped to their centre, which leaves out up to {lost:.0%} of them"
            changes[cropped] = sum(height != width for height, width in sides)
        threads = threads_for(max(header.height * header.width for header in headers))
        sides = (self.size, self.size) if self.size else (headers[0].height, headers[0].width)
        return Pictures(tuple(paths), channels, *sides, self.size is not None, threads, {}, self.memory)


def _splits(root: Path, changes: Counter[str]) -> tuple[dict[str, Path], list[str]]:
    """The folder of each split in ``root``, and what is to be said of them."""
    if not root.is_dir():
        raise BadData(f"There is no folder {root}.")
    there: dict[str, Path] = {}
    beside, notes, passed = [], [], Counter[str]()
    for path in _shown(root, passed):
        split = next((split for split, words in SPLITS.items() if path.name.lower() in words), None)
        if split is None or not path.is_dir():
            beside.append(path.name)
        elif split in there:
            raise BadData(f"{there[split]} and {path} both hold the {split} split. Keep one of them.")
        else:
            there[split] = path
    if not there:
        return {"train": root}, []
    if "train" not in there:
        name = min(path.name for path in there.values())
        raise BadData(
            f"{root} has a folder {name}, but no folder train. Wanted: {root}/train/<class>/<image>, also where {name}"
            " is a class."
        )
    changes.update(passed)
    if beside:
        notes.append(f"Not read, since they lie next to {there['train'].name}: {', '.join(beside)}.")
    if "validation" in there and "test" not in there:
        there["test"] = there.pop("validation")
        notes.append(f"The folder {there['test'].name} is tested on, since there is no folder test.")
    return there, notes


def _by_class(folder: Path, changes: Counter[str]) -> dict[str, list[Path]]:
    """The image files of each class's folder in ``folder``, by name; hidden ones are passed over and counted."""
    found = {}
    for path in _shown(folder, changes):
        if not path.is_dir():
            raise BadData(f"{path} lies next to the classes' folders. Move it into one of them, or remove it.")
        found[path.name] = _shown(path, changes)
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


def _shown(folder: Path, changes: Counter[str]) -> list[Path]:
    try:
        every = sorted(folder.iterdir())
    except OSError as error:
        raise BadData(f"The folder {folder} cannot be read ({error.strerror}).") from error
    shown = [path for path in every if not path.name.startswith(".") and path.name not in SYSTEM]
    changes[HIDDEN] += len(every) - len(shown)
    return shown
