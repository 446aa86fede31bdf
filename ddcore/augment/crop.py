"""Random crops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ddcore.augment.base import Augment
from ddcore.augment.transforms import cropped, uniform
from ddcore.types import DataCard, Transform


@dataclass(frozen=True)
class Crop(Augment):
    """A random box of the image brought to full size, mirrored with probability one half where ``flip`` allows it.

    The box has a share of the area uniform from ``low`` to 1, sides whose ratio is log-uniform from 1 / ``ratio`` to
    ``ratio``, each cut to the image's, and a uniform place. Reference: Szegedy et al., CVPR 2015, Section 6.

    With ``first`` the least share falls along a run from ``first`` to ``low`` as a cosine, which it reaches when
    ``until`` of the run is done: whole images come first, details later. Reference: Yin and Shen, CDA, 2023, Section 3.
    """

    suits = frozenset({"image"})

    low: float = 0.08
    ratio: float = 4 / 3
    flip: bool = True
    first: float | None = None
    until: float = 1.0

    def faults(self) -> Iterator[str]:
        if not 0 < self.low <= 1 or not self.low <= (self.first or 1) <= 1:
            yield (
                f"A crop shows at least low = {self.low} of an image: low must be above 0 and at most 1, and"
                f" first = {self.first} from low to 1."
            )
        if not 1 <= self.ratio < math.inf or not 0 < self.until <= 1:
            yield (f"A crop's ratio = {self.ratio} must be at least 1, and until = {self.until} above 0 and at most 1.")

    def fitted(self, card: DataCard) -> Crop:
        return replace(self, flip=self.flip and card.flips)

    def at(self, share: float) -> Crop:
        if self.first is None:
            return self
        left = (1 + math.cos(math.pi * min(1.0, share / self.until))) / 2
        return replace(self, low=self.low + (self.first - self.low) * left, first=None)

    def boxes(self, generator: Generator, n: int) -> Tensor:
        """Width, height and centre of boxes (n, 4), in half sides of the image; a width below zero is mirrored."""
        area = uniform(self.low, 1, n, generator)
        root = (uniform(-0.5, 0.5, n, generator) * math.log(self.ratio)).exp()
        sides = torch.stack([area.sqrt() * root, area.sqrt() / root], 1).clamp_max(1)
        place = uniform(-1, 1, 2 * n, generator).view(n, 2) * (1 - sides)
        mirrored = 1 - 2 * (torch.rand(n, generator=generator) < 0.5).float() if self.flip else torch.ones(n)
        return torch.cat([sides[:, :1] * mirrored[:, None], sides[:, 1:], place], 1)

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        return cropped(self.boxes(generator, n or 1))
