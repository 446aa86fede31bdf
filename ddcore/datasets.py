"""Data sets by name: the embedded digits, torchvision's, folders of images and arrays of one's own."""

from __future__ import annotations

import gzip
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.data import RealData, Store, split_rows
from ddcore.errors import BadData
from ddcore.parts import Part

Pair = tuple[np.ndarray | Tensor, np.ndarray | Tensor]

CACHE = "~/.cache/ddcore"
HELD_OUT = 0.1
"""Share of the items that is the test split where a data set brings none."""


class DataSet(Part, kind="data"):
    """Where real data come from."""

    @abstractmethod
    def load(self) -> RealData:
        """Raises BadData where the files are missing or cannot be used."""


def _held_out(images: np.ndarray | Tensor, labels: np.ndarray | Tensor) -> tuple[Pair, Pair]:
    """Train and test of a set that came in one piece: a stratified tenth, always the same, is the test split."""
    x, y = torch.as_tensor(images), torch.as_tensor(labels).flatten().long()
    store = Store.of(x, y, int(y.max()) + 1)
    held, kept = (store.order[rows].sort().values for rows in split_rows(store, HELD_OUT, seed=0))
    return (x[kept], y[kept]), (x[held], y[held])


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
        except RuntimeError as error:
            raise BadData(
                f"{self.part_name()} is not in {self.folder} ({error}). Name its folder with --root, or fetch it with"
                " --download."
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
    """Images in ``root/train/<class>/`` and ``root/test/<class>/`` (or ``val``).

    Without a test folder a stratified tenth of train, always the same, is set aside. Images are resized so that
    the shorter side is ``size`` (by default that of the first image), then cropped in the centre.
    """

    root: str
    size: int | None = None

    def load(self) -> RealData:
        root = Path(self.root)
        if not (root / "train").is_dir():
            raise BadData(f"{root} has no folder train. Wanted: {root}/train/<class>/<image>.")
        names = sorted(folder.name for folder in (root / "train").iterdir() if folder.is_dir())
        if not names:
            raise BadData(f"{root / 'train'} holds no folder. Wanted: one folder of images a class.")
        size = self.size or min(_read(next(_files(root / "train" / names[0]))).shape[1:])
        train = self._split(root / "train", names, size)
        other = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
        train, test = (train, self._split(other, names, size)) if other else _held_out(*train)
        return RealData.of(root.name, train, test, class_names=names)

    def _split(self, folder: Path, names: list[str], size: int) -> Pair:
        images, labels = [], []
        for c, name in enumerate(names):
            if not (folder / name).is_dir():
                raise BadData(f"{folder} lacks the folder {name}, a class of train.")
            for path in _files(folder / name):
                images.append(_cropped(_read(path), size))
                labels.append(c)
        channels = {len(image) for image in images}
        if len(channels) > 1:
            images = [image.expand(3, -1, -1) for image in images]
        return torch.stack(images), torch.tensor(labels)


def _files(folder: Path) -> Any:
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        raise BadData(f"{folder} holds no image: a class needs at least one.")
    return iter(found)


def _read(path: Path) -> Tensor:
    """An image (c, h, w) in uint8: one channel where it is grey, else three."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(f"{path} is not an image that can be read ({error}). Take it away.") from error
    return torch.from_numpy(pixels).view(*pixels.shape[:2], -1).movedim(2, 0)


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
            checked = RealData.of(path.stem, whole, whole)
            train, test = _held_out(checked.train.inputs, checked.train.targets)
        if train is None or test is None:
            raise BadData(
                f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}. Wanted: train_images, train_labels,"
                " test_images, test_labels; or images and labels."
            )
        names = [str(name) for name in arrays.get("class_names", [])]
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
