"""Layers of images on a CPU, faster than their kernels, and exact up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.fast import fast
from ddcore.types import Transform

WIDEST = 64
"""Rows of pixels longer than this are pooled by torch's kernel: the product's work per pixel grows with the row."""


def halved(x: Tensor) -> Tensor:
    """The mean over each 2x2 square of images (n, c, h, w), h and w even.

    Each two lines of pixels are one row of a product with a constant matrix (2w, w/2).
    """
    n, c, h, w = x.shape
    return (x.reshape(n * c * h // 2, 2 * w) @ _squares(w, x.dtype)).view(n, c, h // 2, w // 2)


def can_halve(x: Tensor) -> bool:
    """Whether :func:`halved` is the faster way for ``x``."""
    return (
        fast()
        and x.ndim == 4
        and x.device.type == "cpu"
        and x.is_floating_point()
        and x.shape[2] % 2 == 0 == x.shape[3] % 2
        and 0 < x.shape[3] <= WIDEST
    )


def can_fuse(x: Tensor) -> bool:
    """Whether :func:`pooled` is the faster way for ``x``: grey images, and no derivative wanted."""
    return (
        fast()
        and not torch.is_grad_enabled()
        and x.ndim == 4
        and x.device.type == "cpu"
        and x.is_floating_point()
        and x.shape[1] == 1
    )


@cache
def _squares(w: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        columns = torch.arange(2 * w) % w // 2
        return (columns[:, None] == torch.arange(w // 2)).to(dtype) / 4


@dataclass(frozen=True)
class Block:
    """A 3x3 convolution, instance norm, an activation and the mean of each 2x2 square, at their parameters."""

    weight: Tensor
    """(f, c, 3, 3)."""
    scale: Tensor
    """Of the norm, (f,)."""
    shift: Tensor
    activation: Transform
    padding: int


def pooled(blocks: Sequence[Block], x: Tensor) -> Tensor:
    """Images (n, c, h, w) through the ``blocks``, flattened (n, d); without derivatives.

    The convolution's bias is left out, which the norm takes away again. In between stand images (n, h, w, c).
    """
    x = _first(blocks[0], x)
    for block in blocks[1:]:
        x = _next(block, x)
    return x.permute(0, 3, 1, 2).flatten(1)


def _first(block: Block, x: Tensor, eps: float = 1e-5) -> Tensor:
    """The first block, by one product.

    With m and C the mean and covariance over an image's patches p, a filter w has outputs of mean <w, m> and variance
    w'Cw there, so the norm of its outputs is <p - m, a w> + b with a = scale / sqrt(w'Cw + eps).
    """
    squares = F.pad(x, (block.padding,) * 4).unfold(2, 4, 2).unfold(3, 4, 2).unfold(4, 3, 1).unfold(5, 3, 1)
    n, c, h, w = *x.shape[:2], 2 * squares.shape[2], 2 * squares.shape[3]
    patches = squares.permute(0, 4, 5, 2, 3, 1, 6, 7).reshape(n, h * w, 9 * c)
    patches = patches - patches.mean(1, keepdim=True)
    covariance = patches.transpose(1, 2).bmm(patches) / (h * w)
    filters = block.weight.flatten(1)
    variance = ((filters @ covariance) * filters).sum(2)
    scaled = filters * (block.scale / (variance + eps).sqrt())[:, :, None]
    made = torch.baddbmm(block.shift.expand(n, 1, -1), patches, scaled.transpose(1, 2))
    return block.activation(made).view(n, 4, h // 2, w // 2, -1).mean(1)


def _next(block: Block, x: Tensor, eps: float = 1e-5) -> Tensor:
    """A block on images (n, h, w, c)."""
    weight = block.weight.contiguous(memory_format=torch.channels_last)
    made = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=block.padding)
    n, f, h, w = made.shape
    flat = made.permute(0, 2, 3, 1).reshape(n, h * w, f)
    average = flat.new_full((n, 1, h * w), 1 / (h * w))
    mean = average.bmm(flat)
    scale = block.scale / (average.bmm((flat - mean).square()) + eps).sqrt()
    flat = block.activation(torch.addcmul(block.shift - mean * scale, flat, scale))
    return F.avg_pool2d(flat.view(n, h, w, f).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
