"""VGG-11 for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import Activation, Conv, Flatten, Layer, Linear, NormName, Pooling, chain, norm
from ddcore.networks.structure import Structure
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


@dataclass(frozen=True)
class VGG11(NetworkPlan):
    """Eight convolutions in five stages, pooled while more than one pixel is left, and one linear layer."""

    suits = frozenset({"image"})

    norm: NormName = "instance"
    """Normalisation after each convolution; ``group`` has 4 groups."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["simonyan2015very"],)

    def build(self, card: DataCard) -> Structure:
        channels, *sides = card.shape
        layers: list[Layer | None] = []
        for stage in STAGES:
            for width in stage:
                padding = 3 if not layers and tuple(card.shape) == (1, 28, 28) else 1
                layers += [Conv(channels, width, padding=padding), self._norm(width, sides), Activation()]
                channels = width
                sides = [side + 2 * (padding - 1) for side in sides]
            if min(sides) > 1:
                layers.append(Pooling("max"))
                sides = [side // 2 for side in sides]
        return Structure(chain(*layers, Flatten()), Linear(channels * sides[0] * sides[1], card.outputs))

    def _norm(self, width: int, sides: list[int]) -> Layer | None:
        """One pixel a channel has no spread: instance norm would erase it, so it is left as it is."""
        return None if self.norm == "instance" and max(sides) == 1 else norm(self.norm, width)
