"""Random crops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Generator, Tensor

from ddcore.augment.base import Augment
from ddcore.augment.transforms import cropped, uniform
from ddcore.bounds import PositiveShare
from ddcore.types import DataCard, Transform


@dataclass(frozen=True)
class Crop(Augment):
    """A random box of the image resized to full size.

    The box has a share of the area uniform from ``low`` to 1, sides whose ratio is log-uniform, each limited to the
    image's, and a uniform place.

    **References**: Szegedy et al., CVPR 2015, Section 6; ``first``, Yin and Shen, CDA, 2023, Section 3.
    """

    suits = frozenset({"image"})

    low: PositiveShare = 0.08
    """Smallest share of the image's area. Published: 0.08."""
    ratio: Annotated[float, Ge(1)] = 4 / 3
    """Largest ratio of the box's sides, either way. Published: 4/3."""
    flip: bool = True
    """Whether the box is mirrored with probability 1/2, unless that could change a label of the data."""
    first: PositiveShare | None = None
    """Smallest share at the start of a run, which then falls to ``low`` as a cosine: whole images come first, details
    later. None for ``low`` all along. Published: 1."""
    until: PositiveShare = 1.0
    """Share of the run after which ``low`` is reached."""

    def faults(self) -> Iterator[str]:
        if self.first is not None and self.first < self.low:
            yield f"first = {self.first}: it must be at least low = {self.low}"

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

    @property
    def itemwise(self) -> bool:
        return True

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        return cropped(self.boxes(generator, n or 1))
