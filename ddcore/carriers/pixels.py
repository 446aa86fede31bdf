"""Every pixel is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddcore.carriers.base import Carrier, ImagesModule, values_to_come
from ddcore.context import Context
from ddcore.store import plain
from ddcore.types import DataCard, Group


@dataclass(frozen=True)
class Pixels(Carrier):
    """``ipc`` items per class, each number (of an image, each pixel) learned."""

    init: Literal["noise", "real"] = "noise"
    """``noise`` draws a standard normal and asks nothing of T, for values to predict too, which are therefore to be
    standardised, as those of a table are; ``real`` starts from random real images."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def build(self, card: DataCard) -> PixelsModule:
        return PixelsModule(self, card)


class PixelsModule(ImagesModule):
    def __init__(self, plan: Pixels, card: DataCard) -> None:
        super().__init__(plan, card)
        self.plan = plan
        self.values = values_to_come(card, len(self.classes))

    def start(self, ctx: Context) -> None:
        with torch.no_grad():
            if self.plan.init == "noise":
                for drawn in (self.pixels, self.values):
                    if drawn is not None:
                        drawn.copy_(torch.randn(drawn.shape, generator=ctx.rng["init"]))
                return
            for c, wanted in enumerate(self.plan.per_class(ctx.card)):
                (batch,) = ctx.gate.examples([Group(classes=(c,), size=wanted)])
                self.pixels[self.classes == c] = plain(batch.inputs)
                if self.values is not None:
                    self.values.copy_(batch.targets)

    def forward(self, index: Tensor) -> Tensor:
        return self.pixels[index]
