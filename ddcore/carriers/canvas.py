"""A canvas per class whose opposite edges join, seen in crops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.context import Context
from ddcore.types import DataCard, Draw, Group, Transform


@dataclass(frozen=True)
class Canvas(Carrier):
    """One canvas (c, H, W) per class of as many pixels as ``ipc`` images, whose opposite edges join.

    Items are crops of the size of an image, at places drawn anew at every step; those of the last step are kept.
    """

    suits = frozenset({"image"})

    crops: Count = 16
    """Items per class."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws a standard normal; ``real`` mirrors a random real image, so that edges join."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def per_class(self, card: DataCard) -> tuple[int, ...]:
        return (self.crops,) * card.classes

    def build(self, card: DataCard) -> CanvasModule:
        return CanvasModule(self, card)


class CanvasModule(DecodedModule):
    """``places`` (n, 2) are the top left corners of the crops on their canvases, in pixels."""

    places: Tensor

    def __init__(self, plan: Canvas, card: DataCard) -> None:
        super().__init__()
        self.plan, self.versions, self.size = plan, plan.crops, card.shape[1:]
        sides = [int(side * math.sqrt(plan.budget)) for side in self.size]
        self.register_buffer("classes", classes_in_order(plan.per_class(card)))
        self.register_buffer("places", torch.zeros(len(self.classes), 2, dtype=torch.long))
        self.canvas = nn.Parameter(torch.zeros(card.classes, card.shape[0], *sides))

    def start(self, ctx: Context) -> None:
        self._move(ctx.rng["places"])
        with torch.no_grad():
            if self.plan.init == "noise":
                self.canvas.copy_(torch.randn(self.canvas.shape, generator=ctx.rng["init"]))
                return
            height, width = self.canvas.shape[2:]
            for c, canvas in enumerate(self.canvas):
                (batch,) = ctx.gate.examples([Group((c,), 1)])
                quarter = F.interpolate(batch.inputs, size=((height + 1) // 2, (width + 1) // 2), mode="area")[0]
                half = torch.cat([quarter, quarter.flip(2)], 2)
                canvas.copy_(torch.cat([half, half.flip(1)], 1)[:, :height, :width])

    def follow(self, draw: Draw, rng: Generator) -> None:
        self._move(rng)

    def _move(self, rng: Generator) -> None:
        sides = torch.tensor(self.canvas.shape[2:])
        self.places.copy_((torch.rand(self.places.shape, generator=rng) * sides).long())

    def forward(self, index: Tensor) -> Tensor:
        """Crops (n, c, h, w); what goes beyond an edge goes on at the opposite one."""
        rows, columns = (
            (self.places[index, axis][:, None] + torch.arange(side, device=index.device)) % of
            for axis, (side, of) in enumerate(zip(self.size, self.canvas.shape[2:], strict=True))
        )
        canvas = (index // self.versions)[:, None, None]
        return self.canvas[canvas, :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)

    def project(self, into: Transform) -> None:
        with torch.no_grad():
            self.canvas.copy_(into(self.canvas))

    def nbytes(self) -> int:
        return super().nbytes() + self.places.nbytes

    def latent(self) -> dict[str, Tensor]:
        return {**super().latent(), "places": self.places.cpu().clone()}

    def restore(self, latent: dict[str, Tensor]) -> None:
        self.places.copy_(latent["places"])
        super().restore({"canvas": latent["canvas"]})
