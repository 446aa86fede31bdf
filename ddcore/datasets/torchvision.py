"""Data sets in the files of torchvision: MNIST, FashionMNIST, CIFAR, SVHN."""

from __future__ import annotations

import gzip
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ddcore.data import RealData, Split
from ddcore.datasets.base import DataSet
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
            raise ValueError("it does not start as an IDX file of bytes does")
        shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
        return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except FileNotFoundError:
        raise RuntimeError(f"{path.name} is missing") from None
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise RuntimeError(f"{path.name} is damaged: {error}") from error


@dataclass(frozen=True)
class Mnist(Torchvision):
    """MNIST (LeCun et al., 1998): ``root/MNIST/raw``, packed or unpacked. Nothing is written next to the files."""

    names = DIGITS
    flips = False
    mean = (0.1307,)
    std = (0.3081,)
    torchvision_name: ClassVar[str] = "MNIST"

    def split(self, train: bool) -> Split:
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
