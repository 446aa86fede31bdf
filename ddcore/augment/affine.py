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
    """A random rotation, shift and scaling in one, or one of the three."""

    suits = frozenset({"image"})

    degrees: NotNegative = 10.0
    """Largest rotation in degrees, either way."""
    translate: NotNegative = 0.1
    """Largest shift along each axis, as a share of the side."""
    scale: Decay = 0.1
    """Largest change of size: the factor is uniform in 1 +- ``scale``."""

    one: bool = False
    """Whether only one of the three, picked at random, is done."""

    @property
    def itemwise(self) -> bool:
        return True

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        n = n or 1
        turned = rotation(n, shape, generator, self.degrees).theta
        scale = uniform(1 - self.scale, 1 + self.scale, n, generator)
        moved = (2 * uniform(-self.translate, self.translate, 2 * n, generator)).view(n, 2)
        if self.one:
            picked = torch.randint(3, (n,), generator=generator)
            unturned = rotation(n, shape, generator, 0.0).theta
            turned = turned.where((picked == 0)[:, None, None], unturned)
            scale = scale.where(picked == 1, torch.ones(()))
            moved = moved.where((picked == 2)[:, None], torch.zeros(()))
        return Warp(torch.cat([turned[:, :, :2] * scale[:, None, None], moved[:, :, None]], 2))
