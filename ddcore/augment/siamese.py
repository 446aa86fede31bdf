"""Differentiable siamese augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator

from ddcore.augment.base import Augment
from ddcore.augment.transforms import Colour, Cutout, Mirror, Shift, rotation, scaling, uniform
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard, Transform


def _colour(n: int, shape: tuple[int, ...], generator: Generator) -> Colour:
    return Colour(
        brightness=uniform(-0.5, 0.5, n, generator),
        saturation=uniform(0, 2, n, generator),
        contrast=uniform(0.5, 1.5, n, generator),
    )


def _half_up(x: float) -> int:
    """The nearest whole number, the greater of two."""
    return int(x + 0.5)


def _crop(n: int, shape: tuple[int, ...], generator: Generator) -> Shift:
    down, right = (
        torch.randint(-reach, reach + 1, (n,), generator=generator)
        for reach in (_half_up(0.125 * s) for s in shape[1:])
    )
    return Shift(down, right)


def _cutout(n: int, shape: tuple[int, ...], generator: Generator) -> Cutout:
    size = (_half_up(0.5 * shape[1]), _half_up(0.5 * shape[2]))
    row, column = (
        torch.randint(0, side + 1 - cut % 2, (n,), generator=generator)
        for side, cut in zip(shape[1:], size, strict=True)
    )
    return Cutout(row, column, size)


def _flip(n: int, shape: tuple[int, ...], generator: Generator) -> Mirror:
    return Mirror(torch.rand(n, generator=generator) < 0.5)


Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]
OPERATIONS: dict[str, Callable[[int, tuple[int, ...], Generator], Transform]] = {
    "color": _colour,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": lambda n, shape, generator: scaling(n, shape, generator, 1.2),
    "rotate": lambda n, shape, generator: rotation(n, shape, generator, 15),
}


@dataclass(frozen=True)
class Siamese(Augment):
    """Differentiable siamese augmentation: each draw picks one of ``ops``, then its strength.

    **Reference**: Zhao and Bilen, ICML 2021, Section 3.3; strengths from the authors' code.

    **Differs**: with one change per item, the operation is still one for all of them, as in the authors' code; grids
    are sampled with ``align_corners=False``.
    """

    suits = frozenset({"image"})

    ops: tuple[Operation, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
    """Operations to pick from. ``color``: brightness within +-0.5, saturation up to 2, contrast within 1 +- 0.5;
    ``crop``: a shift of up to 1/8 of the side; ``cutout``: a square of half the side; ``flip``: with probability 1/2,
    where the data allow it; ``scale``: each side by 1/1.2 to 1.2; ``rotate``: within 15 degrees."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["zhao2021dsa"],)

    def faults(self) -> Iterator[str]:
        if not self.ops:
            yield "ops is empty: name at least one operation, or take no augmentation"
        for op in self.ops:
            if op not in OPERATIONS:
                raise UnknownName("operation of augment.ops", op, OPERATIONS)

    def fitted(self, card: DataCard) -> Siamese:
        ops = tuple(op for op in self.ops if card.flips or op != "flip")
        if not ops:
            raise RecipeRefused(f"augment.ops only flips, and a mirrored image of {card.name} may change its label.")
        return replace(self, ops=ops)

    @property
    def itemwise(self) -> bool:
        return True

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        op = self.ops[int(torch.randint(len(self.ops), (), generator=generator))]
        return OPERATIONS[op](n or 1, shape, generator)
