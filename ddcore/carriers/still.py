"""Videos as still images that move by a few fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.types import DataCard, Group, Network


@dataclass(frozen=True)
class Still(Carrier):
    """Videos x_t = image + sum_r a_tr field_r, within the bytes of ``ipc`` real videos per class.

    Starts from the best approximation of random real videos, by singular vectors of what differs from their mean frame.
    """

    suits = frozenset({"video"})

    rank: Count = 2
    """Fields (c, h, w) by which an image moves."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"})

    def per_class(self, card: DataCard) -> tuple[int, ...]:
        channels, frames, *sides = card.shape
        field = channels * math.prod(sides)
        held = (1 + self.rank) * field + self.rank * frames
        return (self.budget * frames * field // held,) * card.classes

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        if not min(self.per_class(card)):
            raise RecipeRefused(
                f"A still image and {self.rank} fields take more than {self.ipc} videos per class of {card.name}: take"
                " a smaller synthetic.rank, or a larger ipc."
            )

    def build(self, card: DataCard) -> Moving:
        return Moving(self, card)


class Moving(DecodedModule):
    def __init__(self, plan: Still, card: DataCard) -> None:
        super().__init__()
        channels, frames, *sides = card.shape
        per_class = plan.per_class(card)
        videos = sum(per_class)
        self.register_buffer("classes", classes_in_order(per_class))
        self.image = nn.Parameter(torch.zeros(videos, channels, *sides))
        self.fields = nn.Parameter(torch.zeros(videos, plan.rank, channels, *sides))
        self.motion = nn.Parameter(torch.zeros(videos, frames, plan.rank))

    @torch.no_grad()
    def start(self, ctx: Context) -> None:
        for c in range(ctx.card.classes):
            own = self.classes == c
            (batch,) = ctx.gate.examples([Group((c,), int(own.sum()))])
            frames = batch.inputs.transpose(1, 2)
            mean = frames.mean(1)
            left, values, right = torch.linalg.svd((frames - mean[:, None]).flatten(2), full_matrices=False)
            rank = self.motion.shape[2]
            size = math.sqrt(right.shape[2])
            self.image[own] = mean
            self.motion[own] = left[:, :, :rank] * values[:, None, :rank] / size
            self.fields[own] = size * right[:, :rank].unflatten(2, mean.shape[1:])

    def forward(self, index: Tensor) -> Tensor:
        moved = torch.einsum("ntr,nrchw->ncthw", self.motion[index], self.fields[index])
        return self.image[index].unsqueeze(2) + moved
