"""Augmentation, drawn once and applied to any tensor.

``draw`` takes all the randomness; what it answers is a value that makes the same change whenever it is called,
so that S and T can share it, and a test can look at it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore.errors import RecipeRefused, UnknownName
from ddcore.parts import Part
from ddcore.types import Citation, DataCard, Transform


class Augment(Part, kind="augment"):
    """Which random changes leave a label as it is; once fitted to a card, of none of its items."""

    @abstractmethod
    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        """A change of inputs (m, c, h, w) with ``shape`` (c, h, w).

        Without ``n`` it is one change for all items, however many; with ``n`` each of exactly n items has its own.
        """

    def at(self, share: float) -> Augment:
        """The augmentation as it stands when ``share`` of a run, from 0 to 1, is done; always the same by default."""
        return self


def _uniform(low: float, high: float, n: int, generator: Generator) -> Tensor:
    """U(low, high), (n,)."""
    return low + (high - low) * torch.rand(n, generator=generator)


def _of_items(values: Tensor, x: Tensor) -> Tensor:
    """Refuse values of n items (n, ...) for another number of images; values of all (1, ...) fit any."""
    if len(values) not in (1, len(x)):
        raise ValueError(f"This change was drawn for {len(values)} items and cannot be made to {len(x)}.")
    return values


def _columns(values: Tensor, x: Tensor) -> Tensor:
    """One number an item (n,), or one for all (1,), against images (m, c, h, w)."""
    return _of_items(values, x).to(x).view(-1, 1, 1, 1)


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
        n = len(_of_items(self.down, x))
        rows = torch.arange(height).view(1, -1) - self.down.view(-1, 1)
        columns = torch.arange(width).view(1, -1) - self.right.view(-1, 1)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        rows, columns = rows.clamp(0, height - 1).to(x.device), columns.clamp(0, width - 1).to(x.device)
        if n == 1:
            return x[:, :, rows[0]][:, :, :, columns[0]] * inside.to(x)[:, None]
        items = torch.arange(n, device=x.device)[:, None, None]
        moved = x.movedim(1, 3)[items, rows[:, :, None], columns[:, None]].movedim(3, 1)
        return moved * inside.to(x)[:, None]


@dataclass(frozen=True)
class Cutout:
    """Zero the square of ``size`` (height, width) whose centre is at ``row`` and ``column`` (n,), cut at the edges."""

    row: Tensor
    column: Tensor
    size: tuple[int, int]

    def __call__(self, x: Tensor) -> Tensor:
        rows = self._inside(_of_items(self.row, x), self.size[0], x.shape[2])
        columns = self._inside(self.column, self.size[1], x.shape[3])
        return x * (~(rows[:, :, None] & columns[:, None])).to(x)[:, None]

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
        return torch.where(_of_items(self.flipped, x).to(x.device).view(-1, 1, 1, 1), x.flip(3), x)


@dataclass(frozen=True)
class Warp:
    """Look the image up at ``theta`` (n, 2, 3) times the output's coordinates in [-1, 1]; bilinear.

    Outside there are zeros, or what is nearest at the ``border``.
    """

    theta: Tensor
    outside: Literal["zeros", "border"] = "zeros"

    def __call__(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(_of_items(self.theta, x).to(x).expand(len(x), 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode=self.outside, align_corners=False)


def cropped(boxes: Tensor) -> Warp:
    """Brings each item's box to the whole image; ``boxes`` (n, 4) as :meth:`Crop.boxes` draws them."""
    width, height, right, down = boxes.unbind(1)
    zero = torch.zeros_like(width)
    return Warp(_matrix([[width, zero, right], [zero, height, down]]), "border")


def _matrix(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(list(row), 1) for row in rows], 1)


def _scaling(n: int, shape: tuple[int, ...], generator: Generator, ratio: float) -> Warp:
    x, y = (_uniform(1 / ratio, ratio, n, generator) for _ in range(2))
    zero = torch.zeros(n)
    return Warp(_matrix([[x, zero, zero], [zero, y, zero]]))


def _rotation(n: int, shape: tuple[int, ...], generator: Generator, degrees: float) -> Warp:
    angle = _uniform(-degrees, degrees, n, generator) * (math.pi / 180)
    zero = torch.zeros(n)
    return Warp(_matrix([[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero]]))


def _colour(n: int, shape: tuple[int, ...], generator: Generator) -> Colour:
    return Colour(
        brightness=_uniform(-0.5, 0.5, n, generator),
        saturation=_uniform(0, 2, n, generator),
        contrast=_uniform(0.5, 1.5, n, generator),
    )


def _crop(n: int, shape: tuple[int, ...], generator: Generator) -> Shift:
    down, right = (
        torch.randint(-reach, reach + 1, (n,), generator=generator) for reach in (round(0.125 * s) for s in shape[1:])
    )
    return Shift(down, right)


def _cutout(n: int, shape: tuple[int, ...], generator: Generator) -> Cutout:
    size = (round(0.5 * shape[1]), round(0.5 * shape[2]))
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
    "scale": lambda n, shape, generator: _scaling(n, shape, generator, 1.2),
    "rotate": lambda n, shape, generator: _rotation(n, shape, generator, 15),
}


@dataclass(frozen=True)
class Siamese(Augment):
    """Differentiable siamese augmentation: each draw picks one of ``ops``, then its strength.

    Colour: brightness in +-0.5, saturation up to 2, contrast in 1 +- 0.5. Crop: a shift of up to an eighth of the
    side. Cutout: a square of half the side. Flip: with probability one half. Scale: each side by 1/1.2 to 1.2.
    Rotate: within 15 degrees. Zhao and Bilen, ICML 2021, Section 3.3; strengths from the authors' code.

    Differs: with ``n`` items of their own, the operation is still one for all of them, as in the authors' code;
    grids are sampled with ``align_corners=False``.
    """

    ops: tuple[Operation, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")

    cites: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "zhao2021dsa",
            "Zhao, Bo and Bilen, Hakan",
            "Dataset Condensation with Differentiable Siamese Augmentation",
            "International Conference on Machine Learning",
            2021,
        ),
    )

    def __post_init__(self) -> None:
        if not self.ops:
            raise RecipeRefused("augment.ops is empty: name at least one operation, or have no augmentation.")
        for op in self.ops:
            if op not in OPERATIONS:
                raise UnknownName("operation of augment.ops", op, OPERATIONS)

    def fitted(self, card: DataCard) -> Siamese:
        ops = tuple(op for op in self.ops if card.flips or op != "flip")
        if not ops:
            raise RecipeRefused(f"augment.ops only flips, and a mirrored image of {card.name} may change its label.")
        return replace(self, ops=ops)

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        op = self.ops[int(torch.randint(len(self.ops), (), generator=generator))]
        return OPERATIONS[op](n or 1, shape, generator)


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


@dataclass(frozen=True)
class Affine(Augment):
    """Rotation within ``degrees``, a shift of up to ``translate`` of the side and scaling by 1 +- ``scale``, in one."""

    degrees: float = 10
    translate: float = 0.1
    scale: float = 0.1

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        n = n or 1
        turned = _rotation(n, shape, generator, self.degrees).theta
        scale = _uniform(1 - self.scale, 1 + self.scale, n, generator)
        moved = (2 * _uniform(-self.translate, self.translate, 2 * n, generator)).view(n, 2)
        return Warp(torch.cat([turned[:, :, :2] * scale[:, None, None], moved[:, :, None]], 2))


@dataclass(frozen=True)
class Crop(Augment):
    """A random box of the image brought to full size, mirrored with probability one half where ``flip`` allows it.

    The box has a share of the area uniform from ``low`` to 1, sides whose ratio is log-uniform from 1 / ``ratio`` to
    ``ratio``, each cut to the image's, and a uniform place. Reference: Szegedy et al., CVPR 2015, Section 6.

    With ``first`` the least share falls along a run from ``first`` to ``low`` as a cosine, which it reaches when
    ``until`` of the run is done: whole images come first, details later. Reference: Yin and Shen, CDA, 2023, Section 3.
    """

    low: float = 0.08
    ratio: float = 4 / 3
    flip: bool = True
    first: float | None = None
    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or not self.low <= (self.first or 1) <= 1:
            raise RecipeRefused(
                f"A crop shows at least low = {self.low} of an image: low must be above 0 and at most 1, and"
                f" first = {self.first} from low to 1."
            )
        if not 1 <= self.ratio < math.inf or not 0 < self.until <= 1:
            raise RecipeRefused(
                f"A crop's ratio = {self.ratio} must be at least 1, and until = {self.until} above 0 and at most 1."
            )

    def fitted(self, card: DataCard) -> Crop:
        return replace(self, flip=self.flip and card.flips)

    def at(self, share: float) -> Crop:
        if self.first is None:
            return self
        left = (1 + math.cos(math.pi * min(1.0, share / self.until))) / 2
        return replace(self, low=self.low + (self.first - self.low) * left, first=None)

    def boxes(self, generator: Generator, n: int) -> Tensor:
        """Width, height and centre of boxes (n, 4), in half sides of the image; a width below zero is mirrored."""
        area = _uniform(self.low, 1, n, generator)
        root = (_uniform(-0.5, 0.5, n, generator) * math.log(self.ratio)).exp()
        sides = torch.stack([area.sqrt() * root, area.sqrt() / root], 1).clamp_max(1)
        place = _uniform(-1, 1, 2 * n, generator).view(n, 2) * (1 - sides)
        mirrored = 1 - 2 * (torch.rand(n, generator=generator) < 0.5).float() if self.flip else torch.ones(n)
        return torch.cat([sides[:, :1] * mirrored[:, None], sides[:, 1:], place], 1)

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        return cropped(self.boxes(generator, n or 1))
