"""LeNet: two convolutions and three linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ddcore.errors import RecipeRefused
from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import Activation, Conv, Flatten, Linear, Pooling, chain
from ddcore.networks.structure import Structure
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard


@dataclass(frozen=True)
class LeNet(NetworkPlan, name="lenet"):
    """LeNet-5 with ReLU and max pooling; grey images of 28 pixels are padded to 32."""

    suits = frozenset({"image"})

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["lecun1998gradient"],)

    def build(self, card: DataCard) -> Structure:
        channels, *sides = card.shape
        padding = 2 if channels == 1 else 0
        left = [((side + 2 * padding - 4) // 2 - 4) // 2 for side in sides]
        if min(left) < 1:
            least = 16 - 2 * padding
            raise RecipeRefused(
                f"LeNet leaves nothing of images of {sides[0]}x{sides[1]}: {least} pixels are the least."
            )
        features = chain(
            *(Conv(channels, 6, 5, padding=padding), Activation(), Pooling("max")),
            *(Conv(6, 16, 5, padding=0), Activation(), Pooling("max"), Flatten()),
            *(Linear(16 * left[0] * left[1], 120), Activation(), Linear(120, 84), Activation()),
        )
        return Structure(features, Linear(84, card.outputs))
