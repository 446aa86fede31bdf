"""Data of a few small items, made in a moment and the same each time."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor

from ddcore.data import RealData
from ddcore.datasets.base import DataSet
from ddcore.errors import DdcoreError
from ddcore.host import Host
from ddcore.testing.base import Untried
from ddcore.testing.shrinking import smaller
from ddcore.testing.vertices import tiny_nodes


def tiny_images(side: int = 16) -> RealData:
    """Three classes of grey images (1, side, side), 20 of each: a bar at the class's own place, in noise."""
    generator = Generator().manual_seed(0)

    def split(n: int) -> tuple[Tensor, Tensor]:
        targets = torch.arange(3).repeat(n)
        images = torch.randint(0, 90, (3 * n, 1, side, side), generator=generator, dtype=torch.uint8)
        for image, c in zip(images, targets.tolist(), strict=True):
            image[:, c * side // 4 : (c + 1) * side // 4] += 150
        return images, targets

    return RealData.of("tiny", split(20), split(10), flips=False, mean=(0.4,), std=(0.3,))


def tiny_vectors(values: int | None = None) -> RealData:
    """Three classes of vectors (9,), or ``values`` numbers to predict of each."""
    return _bumps("vector", (9,), values)


def tiny_signals() -> RealData:
    """Three classes of signals (2, 24)."""
    return _bumps("signal", (2, 24))


def tiny_videos() -> RealData:
    """Three classes of videos (1, 8, 8, 8)."""
    return _bumps("video", (1, 8, 8, 8))


def _bumps(kind: str, shape: tuple[int, ...], values: int | None = None) -> RealData:
    """Items in noise, each class higher along its own stretch of the last axis."""
    generator = Generator().manual_seed(0)

    def split(n: int) -> tuple[Tensor, Tensor]:
        targets = torch.arange(3).repeat(n)
        items = torch.randn(len(targets), *shape, generator=generator)
        for item, c in zip(items, targets.tolist(), strict=True):
            item.tensor_split(3, -1)[c].add_(3)
        return items, targets if values is None else items.flatten(1)[:, :values].clone()

    return RealData.of(f"tiny {kind}s", split(20), split(10), kind=kind)


TINY = {
    "image": tiny_images,
    "vector": tiny_vectors,
    "signal": tiny_signals,
    "video": tiny_videos,
    "vertex": tiny_nodes,
}


def tiny_data(kind: str, host: Host) -> RealData:
    """Small data of the ``kind``: of this module, or a registered data set that reads no file.

    Raises:
        Untried: there is none.
    """
    if kind in TINY:
        return TINY[kind]()
    for entry in host.catalogue.of("data"):
        try:
            plan = cast(type[DataSet], entry.maker)()
            if plan.item_kind() == kind and not list(plan.files()):
                return smaller(plan).load()
        except (DdcoreError, TypeError, OSError):
            continue
    raise Untried(f"No installed data set of the kind {kind} is made without files: give the check data=.")
