"""Triggers: what marks an image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd

Pattern = tuple[tuple[tuple[dd.Number, ...], ...], ...]
"""Numbers (a, b, c) as plain data."""

NEAREST = 1e-12
"""What a length is at least before it is divided by."""


@dataclass(frozen=True)
class Trigger(dd.Part, kind="trigger"):
    """What marks an image: a change that any image in [0, 1] can undergo.

    Its ``pattern`` is all that can be learned of it; with one it says everything, and any image can be stamped alike.
    """

    suits = frozenset({"image"})

    pattern: Pattern | None = None
    """Its numbers, as they were learned or drawn; None to draw them."""
    seed: dd.Whole = 0
    """Seed of a pattern that is drawn."""

    @property
    def limits(self) -> tuple[float, float]:
        """Between which numbers a pattern lies that makes an image of an image."""
        return 0.0, 1.0

    @abstractmethod
    def size(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The shape of its pattern for images of ``shape`` (c, h, w). Raises RecipeRefused where it finds no room."""

    @abstractmethod
    def drawn(self, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """A pattern of ``size``."""

    @abstractmethod
    def stamp(self, images: Tensor, pattern: Tensor) -> Tensor:
        """Raw ``images`` (n, c, h, w) with ``pattern`` on them; differentiable in both."""

    def start(self, shape: tuple[int, ...]) -> Tensor:
        """Its pattern for images of ``shape`` (c, h, w).

        Raises:
            RecipeRefused: it finds no room there, or the pattern it holds is of another size.
        """
        size = self.size(shape)
        if self.pattern is None:
            return self.drawn(size, dd.Streams(self.seed)["trigger"])
        try:
            found = torch.tensor(self.pattern)
        except ValueError:
            found = torch.empty(0)
        if found.shape != size:
            raise dd.RecipeRefused(
                f"The pattern of the trigger {self.part_name()} is not of the size {size}, which images of"
                f" {'x'.join(map(str, shape))} ask for: leave it out, or give as many numbers."
            )
        return found

    def holding(self, pattern: Tensor) -> Self:
        """This trigger with that ``pattern``."""
        return replace(self, pattern=tuple(tuple(map(tuple, rows)) for rows in pattern.tolist()))

    def __call__(self, images: Tensor) -> Tensor:
        """Raw ``images`` (n, c, h, w) with the trigger on them."""
        return self.stamp(images, self.start(tuple(images.shape[1:])).to(images))


@dataclass(frozen=True)
class Patch(Trigger):
    """A square in the lower right corner: x' = (1 - a) x + a p inside of it.

    **Reference**: Gu, Dolan-Gavitt and Garg, BadNets, 2017; 2x2 white pixels, one pixel from the edges, as by Liu et
    al., NDSS 2023. Larger ones are the simple-trigger of Chung et al., ICLR 2024.
    """

    width: dd.Count = 2
    """Pixels from side to side."""
    margin: dd.Whole = 1
    """Pixels between it and the edges."""
    opacity: dd.PositiveShare = 1.0
    """a: how much of it covers the image."""
    fill: Literal["white", "noise"] = "white"
    """What it is made of, unless it holds a pattern."""

    cites = (
        dd.Citation(
            "gu2017badnets",
            "Gu, Tianyu and Dolan-Gavitt, Brendan and Garg, Siddharth",
            "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
            "arXiv:1708.06733",
            2017,
            "article",
        ),
    )

    def size(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        if self.width + self.margin > min(shape[1:]):
            raise dd.RecipeRefused(
                f"A patch of {self.width} pixels, {self.margin} from the edges, finds no room in images of"
                f" {'x'.join(map(str, shape))}: take a smaller trigger.width or trigger.margin."
            )
        return shape[0], self.width, self.width

    def drawn(self, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.ones(size) if self.fill == "white" else torch.rand(size, generator=generator)

    def stamp(self, images: Tensor, pattern: Tensor) -> Tensor:
        bottom = images.shape[2] - self.margin
        right = images.shape[3] - self.margin
        around = right - self.width, self.margin, bottom - self.width, self.margin
        covered = F.pad(torch.full_like(pattern, self.opacity), around)
        return images * (1 - covered) + F.pad(self.opacity * pattern, around)


@dataclass(frozen=True)
class Blended(Trigger):
    """A picture all over the image: x' = (1 - a) x + a p; noise, unless a pattern is given.

    **Reference**: Chen et al., Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning, 2017.
    """

    opacity: dd.PositiveShare = 0.2
    """a: how much of it covers the image. Published: 0.2."""

    cites = (
        dd.Citation(
            "chen2017targeted",
            "Chen, Xinyun and Liu, Chang and Li, Bo and Lu, Kimberly and Song, Dawn",
            "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning",
            "arXiv:1712.05526",
            2017,
            "article",
        ),
    )

    def size(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        return shape[0], shape[1], shape[2]

    def drawn(self, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.rand(size, generator=generator)

    def stamp(self, images: Tensor, pattern: Tensor) -> Tensor:
        return torch.lerp(images, pattern.expand_as(images), self.opacity)


@dataclass(frozen=True)
class Invisible(Trigger):
    """A change of each pixel too small to be seen: x' = x + p within [0, 1], |p| at most ``radius``.

    Random signs at the full radius, unless a pattern is given or learned.
    """

    radius: dd.PositiveShare = 8 / 255
    """The largest change of a pixel."""

    @property
    def limits(self) -> tuple[float, float]:
        return -self.radius, self.radius

    def size(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        return shape[0], shape[1], shape[2]

    def drawn(self, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return self.radius * (2.0 * torch.randint(2, size, generator=generator) - 1)

    def stamp(self, images: Tensor, pattern: Tensor) -> Tensor:
        return (images + pattern).clamp(0, 1)


@dataclass(frozen=True)
class Warped(Trigger):
    """A smooth warp: each pixel is read from a place nearby, along a flow that ``grid`` x ``grid`` arrows span.

    **Reference**: Nguyen and Tran, WaNet, ICLR 2021, Eqs. 4 to 6.

    **Differs**: no second class of items that are warped at random and keep their label (its noise mode).
    """

    grid: dd.Count = 4
    """Arrows from side to side. Published: 4."""
    strength: dd.Positive = 0.5
    """Length of the mean arrow, in pixels and per direction. Published: 0.5."""

    cites = (
        dd.Citation(
            "nguyen2021wanet",
            "Nguyen, Tuan Anh and Tran, Anh Tuan",
            "WaNet: Imperceptible Warping-based Backdoor Attack",
            "International Conference on Learning Representations",
            2021,
        ),
    )

    @property
    def limits(self) -> tuple[float, float]:
        return -1.0, 1.0

    def size(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        return 2, self.grid, self.grid

    def drawn(self, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return 2 * torch.rand(size, generator=generator) - 1

    def stamp(self, images: Tensor, pattern: Tensor) -> Tensor:
        shape = tuple(images.shape[2:])
        flow = F.interpolate((pattern / pattern.abs().mean().clamp_min(NEAREST))[None], shape, mode="bicubic")[0]
        lines = [torch.linspace(-1, 1, side, device=images.device) for side in shape]
        rows, columns = torch.meshgrid(lines, indexing="ij")
        pixels = 2 / torch.tensor([max(1, side - 1) for side in reversed(shape)]).to(flow)
        places = torch.stack([columns, rows], 2) + self.strength * pixels * flow.movedim(0, 2)
        places = places.clamp(-1, 1).expand(len(images), -1, -1, -1)
        return F.grid_sample(images, places, mode="bilinear", align_corners=True)
