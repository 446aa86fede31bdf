"""Small affine changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from ddcore.augment.base import Augment
from ddcore.augment.transforms import Warp, rotation, uniform
from ddcore.bounds import Decay, NotNegative
from ddcore.types import Transform


@dataclass(frozen=True)
class Affine(Augment):
    """A random rotation, shift and scaling in one."""

    suits = frozenset({"image"})

    degrees: NotNegative = 10.0
    """Largest rotation in degrees, either way."""
    translate: NotNegative = 0.1
    """Largest shift along each axis, as a share of the side."""
    scale: Decay = 0.1
    """Largest change of size: the factor is uniform in 1 +- ``scale``."""

    @property
    def itemwise(self) -> bool:
        return True

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        n = n or 1
        turned = rotation(n, shape, generator, self.degrees).theta
        scale = uniform(1 - self.scale, 1 + self.scale, n, generator)
        moved = (2 * uniform(-self.translate, self.translate, 2 * n, generator)).view(n, 2)
        return Warp(torch.cat([turned[:, :, :2] * scale[:, None, None], moved[:, :, None]], 2))
