"""Data sets by name: the embedded digits, torchvision's, folders of images and arrays of one's own."""

from __future__ import annotations

import gzip
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.data import Inputs, Items, Pair, RealData, Store, picked, split_rows
from ddcore.errors import BadData
from ddcore.parts import Part

CACHE = "~/.cache/ddcore"
HELD_OUT = 0.1
"""Share of the items that is the test split where a data set brings none."""


class DataSet(Part, kind="data"):
    """Where real data come from."""

    @abstractmethod
    def load(self) -> RealData:
        """Raises BadData where the files are missing or cannot be used."""


def _held_out(name: str, images: Inputs, labels: Tensor) -> tuple[Pair, Pair]:
    """Train and test of a set that came in one piece: a stratified tenth, always the same, is the test split.

    Raises:
        BadData: no class has enough items to give one.
    """
    store = Store.of(images, labels, int(labels.max()) + 1)
    held, kept = (store.order[rows].sort().values for rows in split_rows(store, HELD_OUT, seed=0))
    if not len(held):
        raise BadData(
            f"{name} has no test split, and its largest class has {max(store.counts)} items: too few to set a tenth"
            " aside. Bring a test split."
        )
    return (picked(images, kept), labels[kept]), (picked(images, held), labels[held])


@dataclass(frozen=True)
class Digits(DataSet):
    """scikit-learn's 1 797 handwritten digits, 8x8 brought to 16x16; 1 437 to train on, 360 to test.

    Bilinear, corner on corner, so that no edge is doubled. They come with scikit-learn: nothing is downloaded.
    """

    def load(self) -> RealData:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        source: Any = load_digits()
        small = torch.from_numpy(source.images).float()[:, None]
        images = F.interpolate(small, size=(16, 16), mode="bilinear", align_corners=True)
        x, y = (images * (255 / 16)).round().to(torch.uint8), torch.from_numpy(source.target)
        train, test = train_test_split(np.arange(len(y)), test_size=360, stratify=source.target, random_state=0)
        return RealData.of(
            "digits",
            (x[train], y[train]),
            (x[test], y[test]),
            class_names=[str(c) for c in range(10)],
            flips=False,
            mean=(0.326,),
            std=(0.323,),
        )


@dataclass(frozen=True)
class Torchvision(DataSet):
    """A data set in torchvision's own files, below ``root``; fetched only with ``download``."""

    root: str | None = None
    download: bool = False

    names: ClassVar[tuple[str, ...]] = ()
    flips: ClassVar[bool] = True
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    @property
    def folder(self) -> Path:
        return Path(self.root or CACHE).expanduser()

    @abstractmethod
    def split(self, train: bool) -> Pair:
        """Images and labels of a split, as torchvision reads them."""

    def load(self) -> RealData:
        try:
            train, test = self.split(True), self.split(False)
        except (RuntimeError, OSError) as error:
            raise BadData(
                f"{self.part_name()} could not be fetched to {self.folder} ({error}). Name a folder that has it with"
                " --root, or try again."
                if self.download
                else f"{self.part_name()} is not in {self.folder} ({error}). Name its folder with --root, or fetch it"
                " with --download."
            ) from error
        return RealData.of(
            self.part_name(),
            train,
            test,
            class_names=self.names,
            flips=self.flips,
            mean=self.mean,
            std=self.std,
        )


DIGITS = tuple(str(c) for c in range(10))


def _idx(path: Path) -> np.ndarray:
    """An IDX file of uint8, packed or not."""
    packed = path.with_name(path.name + ".gz")
    try:
        data = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        if data[:3] != b"\x00\x00\x08":
            raise ValueError("it does not begin as an IDX file of bytes")
        shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
        return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except FileNotFoundError:
        raise RuntimeError(f"{path.name} is missing") from None
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise RuntimeError(f"{path.name} is damaged: {error}") from error


@dataclass(frozen=True)
class Mnist(Torchvision):
    """MNIST (LeCun et al., 1998): ``root/MNIST/raw``, packed or unpacked. Nothing is written beside the files."""

    names = DIGITS
    flips = False
    mean = (0.1307,)
    std = (0.3081,)
    torchvision_name: ClassVar[str] = "MNIST"

    def split(self, train: bool) -> Pair:
        if self.download:
            from torchvision import datasets

            getattr(datasets, self.torchvision_name)(str(self.folder), download=True)
        raw = self.folder / self.torchvision_name / "raw"
        part = "train" if train else "t10k"
        return _idx(raw / f"{part}-images-idx3-ubyte"), _idx(raw / f"{part}-labels-idx1-ubyte")


@dataclass(frozen=True)
class Fashion(Mnist):
    """FashionMNIST (Xiao et al., 2017): ``root/FashionMNIST/raw``, packed or unpacked."""

    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    flips = True
    mean = (0.2861,)
    std = (0.3530,)
    torchvision_name = "FashionMNIST"


@dataclass(frozen=True)
class Cifar10(Torchvision):
    """CIFAR-10 (Krizhevsky, 2009): ``root/cifar-10-batches-py``, whose checksums torchvision verifies."""

    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2023, 0.1994, 0.2010)

    def split(self, train: bool) -> Pair:
        from torchvision.datasets import CIFAR10

        return _cifar(CIFAR10, self, train)


@dataclass(frozen=True)
class Cifar100(Torchvision):
    """CIFAR-100 (Krizhevsky, 2009): ``root/cifar-100-python``, whose checksums torchvision verifies."""

    mean = (0.5071, 0.4866, 0.4409)
    std = (0.2673, 0.2564, 0.2762)

    def split(self, train: bool) -> Pair:
        from torchvision.datasets import CIFAR100

        return _cifar(CIFAR100, self, train)


def _cifar(source: Callable[..., Any], plan: Torchvision, train: bool) -> Pair:
    found = source(str(plan.folder), train=train, download=plan.download)
    return found.data, np.asarray(found.targets)


@dataclass(frozen=True)
class Svhn(Torchvision):
    """SVHN, cropped digits (Netzer et al., 2011): ``root/train_32x32.mat`` and ``root/test_32x32.mat``."""

    names = DIGITS
    flips = False
    mean = (0.4377, 0.4438, 0.4728)
    std = (0.1980, 0.2010, 0.1970)

    def split(self, train: bool) -> Pair:
        from torchvision.datasets import SVHN

        found = SVHN(str(self.folder), split="train" if train else "test", download=self.download)
        return found.data, found.labels


@dataclass(frozen=True)
class ImageFolder(DataSet):
    """Images in ``root/train/<class>/`` and ``root/test/<class>/`` (or ``val``), or right in ``root/<class>/``.

    Where there are both test and val, val is the validation split; where there is neither, a stratified tenth, always
    the same, is set aside to test on. Images are resized so that the shorter side is ``size``, then cropped in the
    centre; without a ``size`` they must be alike. They get ``channels``, 1 or 3: by default 1 where all of them are
    grey.

    Where all of them, decoded, are more than ``memory`` bytes, they stay on disk and are decoded whenever they are
    taken; those taken first, as many as ``memory`` holds, are kept. Only their heads are read then before the run.
    """

    root: str
    size: int | None = None
    channels: int | None = None
    memory: int = 2 * 2**30

    def load(self) -> RealData:
        """Raises BadData, and names the file: an empty class, a stray file or folder, an image that cannot be used."""
        if (self.size is not None and self.size < 1) or self.channels not in (None, 1, 3) or self.memory < 0:
            raise BadData(
                f"Images of size {self.size} with {self.channels} channels in {self.memory} bytes of memory: wanted 1"
                " or more, with 1 or 3, in 0 or more."
            )
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
            pairs["train"], pairs["test"] = _held_out(root.name, *pairs["train"])
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
                    " images shall be brought to: --size, or size=."
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
            raise BadData(f"{path} lies beside the classes' folders. Put it into one of them, or take it away.")
        found[path.name] = _shown(path)
        if not found[path.name]:
            raise BadData(f"{path} holds no image: a class needs at least one.")
        for below in found[path.name]:
            if not below.is_file():
                raise BadData(f"{below} is no file. Wanted: images right in the folder of their class.")
    if not found:
        raise BadData(
            f"{folder} holds no folder. Wanted: one folder of images a class, here or in a folder train with a folder"
            " test beside it."
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
                raise ValueError(f"{image.mode}: more than 8 bits a channel. Save it with 8")
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadData(f"{path} is not an image that can be read ({error}). Mend it, or take it away.") from error


def _cropped(image: Tensor, size: int) -> Tensor:
    from torchvision.transforms.v2 import functional as tv

    return tv.center_crop(tv.resize(image, [size], antialias=True), [size, size])


@dataclass(frozen=True)
class Npz(DataSet):
    """One ``.npz`` file at ``root`` with ``train_images``, ``train_labels``, ``test_images``, ``test_labels``.

    ``val_images`` and ``val_labels`` are the validation split where present, ``class_names`` the names. A file with
    only ``images`` and ``labels`` (or ``x`` and ``y``) gives a stratified tenth, always the same, to test on.
    """

    root: str

    def load(self) -> RealData:
        path = Path(self.root).expanduser()
        arrays = _arrays(path)

        def pair(prefix: str) -> Pair | None:
            keys = [(f"{prefix}images", f"{prefix}labels"), (f"{prefix}x", f"{prefix}y")]
            return next(((arrays[a], arrays[b]) for a, b in keys if a in arrays and b in arrays), None)

        train, test = pair("train_"), pair("test_")
        if train is None and (whole := pair("")) is not None:
            checked = RealData.of(path.stem, whole, whole).train
            train, test = _held_out(path.stem, checked.inputs, checked.targets)
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


DATASETS = (Digits, Mnist, Fashion, Cifar10, Cifar100, Svhn, ImageFolder, Npz)
