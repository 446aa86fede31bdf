"""AlexNet for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ddcore.errors import RecipeRefused
from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import Activation, Conv, Flatten, Linear, NormName, Pooling, chain, norm
from ddcore.networks.structure import Structure
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard


@dataclass(frozen=True)
class AlexNet(NetworkPlan, name="alexnet"):
    """Five convolutions in three pooled stages and one linear layer, in this field's form for small images."""

    suits = frozenset({"image"})

    norm: NormName = "instance"
    """Normalisation after each convolution; ``group`` has 4 groups."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["krizhevsky2012imagenet"],)

    def build(self, card: DataCard) -> Structure:
        channels, *sides = card.shape
        padding = 4 if tuple(card.shape) == (1, 28, 28) else 2
        left = [(side + 2 * padding - 4) // 8 for side in sides]
        if min(left) < 1:
            raise RecipeRefused(f"AlexNet leaves nothing of images of {sides[0]}x{sides[1]}: 8 pixels are the least.")
        features = chain(
            *(Conv(channels, 128, 5, padding=padding), norm(self.norm, 128), Activation(), Pooling("max")),
            *(Conv(128, 192, 5, padding=2), norm(self.norm, 192), Activation(), Pooling("max")),
            *(Conv(192, 256), norm(self.norm, 256), Activation()),
            *(Conv(256, 192), norm(self.norm, 192), Activation()),
            *(Conv(192, 192), norm(self.norm, 192), Activation(), Pooling("max"), Flatten()),
        )
        return Structure(features, Linear(192 * left[0] * left[1], card.outputs))
