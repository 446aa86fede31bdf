"""ResNet-18 for small images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import Activation, Conv, Flatten, GlobalPool, Layer, Linear, NormName, Residual, chain, norm
from ddcore.networks.structure import Structure
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard


@dataclass(frozen=True)
class ResNet18(NetworkPlan, name="resnet18"):
    """A 3x3 stem without pooling, four stages of two basic blocks, the mean over the image, one linear layer.

    **Differs** from the ImageNet form in the stem, and halves the image only while more than two pixels per side are
    left: one pixel per channel has no spread, and instance norm would erase it.
    """

    suits = frozenset({"image"})

    norm: NormName = "instance"
    """Normalisation after each convolution; ``group`` has 4 groups. The paper's is ``batch``; ``instance`` is what this
    field compares with."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["he2016deep"],)

    def build(self, card: DataCard) -> Structure:
        layers: list[Layer | None] = [Conv(card.shape[0], 64, bias=False), norm(self.norm, 64), Activation()]
        channels, side = 64, max(card.shape[1:])
        for width in (64, 128, 256, 512):
            stride = 2 if width > 64 and side > 2 else 1
            layers += [self._block(channels, width, stride), self._block(width, width, 1)]
            channels, side = width, math.ceil(side / stride)
        return Structure(chain(*layers, GlobalPool(), Flatten()), Linear(channels, card.outputs))

    def _block(self, into: int, out: int, stride: int) -> Residual:
        body = chain(
            *(Conv(into, out, stride=stride, bias=False), norm(self.norm, out), Activation()),
            *(Conv(out, out, bias=False), norm(self.norm, out)),
        )
        changed = stride != 1 or into != out
        shortcut = (Conv(into, out, 1, stride, 0, bias=False), norm(self.norm, out)) if changed else ()
        return Residual(body, chain(*shortcut))
