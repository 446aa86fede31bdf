"""Images that are the same on the left as on the right: half the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcore import plugin as dd


@dataclass(frozen=True)
class Mirrored(dd.Carrier):
    """The left half of each image; the right half mirrors it. ``ipc`` images per class, at half their bytes."""

    suits = frozenset({"image"})

    def build(self, card: dd.DataCard) -> MirroredModule:
        return MirroredModule(self, card)


class MirroredModule(dd.CarrierModule):
    def __init__(self, plan: Mirrored, card: dd.DataCard) -> None:
        super().__init__()
        classes = torch.arange(card.classes).repeat_interleave(plan.budget)
        self.register_buffer("classes", classes)
        channels, height, width = card.shape
        self.width = width
        self.left = nn.Parameter(torch.zeros(len(classes), channels, height, (width + 1) // 2))

    def start(self, ctx: dd.Context) -> None:
        with torch.no_grad():
            self.left.copy_(torch.randn(self.left.shape, generator=ctx.rng["mirrored"]))

    def forward(self, index: Tensor) -> Tensor:
        left = self.left[index]
        return torch.cat([left, left.flip(3)[..., self.width % 2 :]], 3)

    def nbytes(self) -> int:
        return self.left.nbytes

    def latent(self) -> dict[str, Tensor]:
        return {"left": self.left.detach().cpu().clone()}
