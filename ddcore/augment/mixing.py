"""Mixing the items of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class CutMix:
    """Each item gets the box ``rows`` by ``columns`` of the item before it, and as much of its class as of its pixels.

    The batch is taken to be in random order. Reference: Yun et al., CutMix, ICCV 2019, Eq. 1 and 2, lambda uniform.
    """

    rows: slice
    columns: slice
    classes: int

    @staticmethod
    def draw(generator: Generator, shape: tuple[int, ...], classes: int) -> CutMix:
        """A box of a uniform share of the image, at a uniform place, cut at the edges."""
        size = float(torch.rand((), generator=generator)) ** 0.5

        def span(side: int) -> slice:
            centre = int(torch.randint(side, (), generator=generator))
            half = round(side * size) // 2
            return slice(max(0, centre - half), min(side, centre + half))

        return CutMix(span(shape[-2]), span(shape[-1]), classes)

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, c, h, w) and classes (n,), or shares of them (n, k), mixed."""
        shares = (y[:, None] == torch.arange(self.classes, device=y.device)).to(x) if y.ndim == 1 else y
        mixed = x.clone()
        box = mixed[:, :, self.rows, self.columns] = x.roll(1, 0)[:, :, self.rows, self.columns]
        other = box[0, 0].numel() / x[0, 0].numel()
        return mixed, (1 - other) * shares + other * shares.roll(1, 0)
