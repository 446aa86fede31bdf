"""Drawn augmentations: values that make one change of images, the same each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore.device import sent


def of_items(values: Tensor, x: Tensor) -> Tensor:
    """Refuse values of n items (n, ...) for another number of images; values of all (1, ...) fit any."""
    if len(values) not in (1, len(x)):
        raise ValueError(f"This change was drawn for {len(values)} items and cannot be applied to {len(x)}.")
    return values


def beside(values: Tensor, x: Tensor) -> Tensor:
    """``values`` where ``x`` is, as numbers of its kind."""
    return sent(values, x.device).to(x.dtype)


def _columns(values: Tensor, x: Tensor) -> Tensor:
    """One value per item (n,), or one for all (1,), shaped for images (m, c, h, w)."""
    return beside(of_items(values, x), x).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Colour:
    """Brightness x + b; then saturation m + s (x - m), m the mean over channels; then contrast M + k (x - M), M the
    mean of the image."""

    brightness: Tensor
    saturation: Tensor
    contrast: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        x = x + _columns(self.brightness, x)
        grey = x.mean(1, keepdim=True)
        x = grey + _columns(self.saturation, x) * (x - grey)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + _columns(self.contrast, x) * (x - mean)


@dataclass(frozen=True)
class Shift:
    """Move the image by whole pixels ``down`` and ``right`` (n,); zeros come in."""

    down: Tensor
    right: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        n = len(of_items(self.down, x))
        rows = torch.arange(height).view(1, -1) - self.down.view(-1, 1)
        columns = torch.arange(width).view(1, -1) - self.right.view(-1, 1)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        rows, columns = (sent(at, x.device) for at in (rows.clamp(0, height - 1), columns.clamp(0, width - 1)))
        if n == 1:
            return x[:, :, rows[0]][:, :, :, columns[0]] * beside(inside, x)[:, None]
        items = torch.arange(n, device=x.device)[:, None, None]
        moved = x.movedim(1, 3)[items, rows[:, :, None], columns[:, None]].movedim(3, 1)
        return moved * beside(inside, x)[:, None]


@dataclass(frozen=True)
class Cutout:
    """Zero the square of ``size`` (height, width) whose centre is at ``row`` and ``column`` (n,), cut at the edges."""

    row: Tensor
    column: Tensor
    size: tuple[int, int]

    def __call__(self, x: Tensor) -> Tensor:
        rows = self._inside(of_items(self.row, x), self.size[0], x.shape[2])
        columns = self._inside(self.column, self.size[1], x.shape[3])
        return x * beside(~(rows[:, :, None] & columns[:, None]), x)[:, None]

    @staticmethod
    def _inside(centre: Tensor, size: int, side: int) -> Tensor:
        first = centre.view(-1, 1) - size // 2
        at = torch.arange(side).view(1, -1)
        return (at >= first) & (at < first + size)


@dataclass(frozen=True)
class Mirror:
    """Mirror left and right the items for which ``flipped`` (n,) is true."""

    flipped: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.where(sent(of_items(self.flipped, x), x.device).view(-1, 1, 1, 1), x.flip(3), x)


@dataclass(frozen=True)
class Warp:
    """Look the image up at ``theta`` (n, 2, 3) times the output's coordinates in [-1, 1]; bilinear.

    Outside there are zeros, or what is nearest at the ``border``.
    """

    theta: Tensor
    outside: Literal["zeros", "border"] = "zeros"

    def __call__(self, x: Tensor) -> Tensor:
        theta = beside(of_items(self.theta, x), x).expand(len(x), 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode=self.outside, align_corners=False)


def cropped(boxes: Tensor) -> Warp:
    """Brings each item's box to the whole image; ``boxes`` (n, 4) as :meth:`Crop.boxes` draws them."""
    width, height, right, down = boxes.unbind(1)
    zero = torch.zeros_like(width)
    return Warp(matrix([[width, zero, right], [zero, height, down]]), "border")


def matrix(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(list(row), 1) for row in rows], 1)


def scaling(n: int, shape: tuple[int, ...], generator: Generator, ratio: float) -> Warp:
    x, y = (uniform(1 / ratio, ratio, n, generator) for _ in range(2))
    zero = torch.zeros(n)
    return Warp(matrix([[x, zero, zero], [zero, y, zero]]))


def rotation(n: int, shape: tuple[int, ...], generator: Generator, degrees: float) -> Warp:
    angle = uniform(-degrees, degrees, n, generator) * (math.pi / 180)
    zero = torch.zeros(n)
    return Warp(matrix([[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero]]))


def uniform(low: float, high: float, n: int, generator: Generator) -> Tensor:
    """U(low, high), (n,)."""
    return low + (high - low) * torch.rand(n, generator=generator)
