"""What a set provides to teach networks, besides one target per item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from torch import Tensor

from ddcore.augment.base import Augment
from ddcore.augment.transforms import cropped
from ddcore.types import Draw


class TeacherTargets(Interface):
    """What a set provides to teach networks, besides one target per item."""

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """``inputs`` (n, ...), the items at ``rows`` (n,), as networks see them, and a teacher's logits (n, k)."""
        ...


@dataclass(frozen=True)
class StoredCrops:
    """Each item as one of its stored views shows it, drawn uniformly: ``boxes`` (n, v, 4), ``logits`` (n, v, k)."""

    boxes: Tensor
    logits: Tensor

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        which = torch.randint(self.logits.shape[1], (len(rows),), generator=generator)
        return cropped(self.boxes[rows, which])(inputs), self.logits[rows, which].to(inputs)


@dataclass(frozen=True)
class LiveTeacher:
    """A teacher network, which is asked about each augmented item."""

    teacher: Draw

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        shape = tuple(inputs.shape[1:])
        seen = augment.draw(generator, shape, n=len(inputs))(inputs) if augment else inputs
        with torch.no_grad():
            return seen, self.teacher(seen, training=False)
