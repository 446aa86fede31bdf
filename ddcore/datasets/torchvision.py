"""Data sets in the files of torchvision: MNIST, FashionMNIST, CIFAR, SVHN."""

from __future__ import annotations

import gzip
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ddcore.data import RealData, Split
from ddcore.datasets.base import DataSet, check_unpacked
from ddcore.errors import BadData

CACHE = "~/.cache/ddcore"


@dataclass(frozen=True)
class Torchvision(DataSet):
    """A data set in torchvision's own files."""

    root: str | None = None
    """The folder that holds the files; None for ``~/.cache/ddcore``."""
    download: bool = False
    """Whether missing files are downloaded."""

    names: ClassVar[tuple[str, ...]] = ()
    flips: ClassVar[bool] = True
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    @property
    def folder(self) -> Path:
        return Path(self.root or CACHE).expanduser()

    @abstractmethod
    def split(self, train: bool) -> Split:
        """Images and labels of a split, as torchvision reads them."""

    def load(self) -> RealData:
        try:
            train, test = self.split(True), self.split(False)
        except BadData:
            raise
        except Exception as error:  # torchvision has one for each way in which files can be missing or damaged
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


def _there(path: Path) -> Path | None:
    """The file at ``path``, or its packed one."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _idx(path: Path, axes: int) -> np.ndarray:
    """An IDX file of uint8 with so many axes, packed or not, whose size is checked before it is unpacked."""
    found = _there(path)
    if found is None:
        raise RuntimeError(f"{path.name} is missing")
    try:
        with gzip.open(found) if found != path else found.open("rb") as opened:
            head = opened.read(4 + 4 * axes)
            if head[:4] != bytes((0, 0, 8, axes)) or len(head) < 4 + 4 * axes:
                raise ValueError(f"it does not start as an IDX file of bytes with {axes} axes does")
            shape = np.frombuffer(head, ">i4", offset=4).tolist()
            if min(shape) < 1:
                raise ValueError(f"it declares the shape {tuple(shape)}")
            size = math.prod(shape)
            check_unpacked(found, found.stat().st_size, size)
            data = opened.read(size + 1)
        if len(data) != size:
            raise ValueError(f"it declares {size} bytes and holds {len(data) if len(data) < size else 'more'}")
        return np.frombuffer(data, np.uint8).reshape(shape)
    except BadData:
        raise
    except Exception as error:  # gzip and zlib have several for a damaged file
        raise BadData(f"{path} is damaged ({error}). Remove it, and fetch it again with --download.") from error


@dataclass(frozen=True)
class Mnist(Torchvision):
    """MNIST (LeCun et al., 1998): ``root/MNIST/raw``, packed or unpacked. Nothing is written next to the files."""

    names = DIGITS
    flips = False
    mean = (0.1307,)
    std = (0.3081,)
    torchvision_name: ClassVar[str] = "MNIST"

    def split(self, train: bool) -> Split:
        part = self.folder / self.torchvision_name / "raw" / ("train" if train else "t10k")
        images, labels = (part.with_name(f"{part.name}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
        if self.download and not (_there(images) and _there(labels)):
            from torchvision import datasets

            getattr(datasets, self.torchvision_name)(str(self.folder), download=True)
        return _idx(images, 3), _idx(labels, 1)


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

    def split(self, train: bool) -> Split:
        from torchvision.datasets import CIFAR10

        return _cifar(CIFAR10, self, train)


@dataclass(frozen=True)
class Cifar100(Torchvision):
    """CIFAR-100 (Krizhevsky, 2009): ``root/cifar-100-python``, whose checksums torchvision verifies."""

    mean = (0.5071, 0.4866, 0.4409)
    std = (0.2673, 0.2564, 0.2762)

    def split(self, train: bool) -> Split:
        from torchvision.datasets import CIFAR100

        return _cifar(CIFAR100, self, train)


def _cifar(source: Callable[..., Any], plan: Torchvision, train: bool) -> Split:
    found = source(str(plan.folder), train=train, download=plan.download)
    return found.data, np.asarray(found.targets)


@dataclass(frozen=True)
class Svhn(Torchvision):
    """SVHN, cropped digits (Netzer et al., 2011): ``root/train_32x32.mat`` and ``root/test_32x32.mat``."""

    names = DIGITS
    flips = False
    mean = (0.4377, 0.4438, 0.4728)
    std = (0.1980, 0.2010, 0.1970)

    def split(self, train: bool) -> Split:
        from torchvision.datasets import SVHN

        found = SVHN(str(self.folder), split="train" if train else "test", download=self.download)
        return found.data, found.labels
