"""Small affine changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from ddcore.augment.base import Augment
from ddcore.augment.transforms import Warp, rotation, uniform
from ddcore.types import Transform


@dataclass(frozen=True)
class Affine(Augment):
    """Rotation within ``degrees``, a shift of up to ``translate`` of the side and scaling by 1 +- ``scale``, in one."""

    suits = frozenset({"image"})

    degrees: float = 10
    translate: float = 0.1
    scale: float = 0.1

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        n = n or 1
        turned = rotation(n, shape, generator, self.degrees).theta
        scale = uniform(1 - self.scale, 1 + self.scale, n, generator)
        moved = (2 * uniform(-self.translate, self.translate, 2 * n, generator)).view(n, 2)
        return Warp(torch.cat([turned[:, :, :2] * scale[:, None, None], moved[:, :, None]], 2))
