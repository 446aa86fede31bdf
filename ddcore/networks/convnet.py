"""ConvNet: the network of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from ddcore.bounds import Count, Layers
from ddcore.errors import RecipeRefused
from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import (
    Activation,
    ActivationName,
    Conv,
    Flatten,
    Layer,
    Linear,
    NormName,
    Pooling,
    PoolingName,
    chain,
    norm,
)
from ddcore.networks.structure import Structure
from ddcore.papers import PAPERS
from ddcore.types import Citation, DataCard


@dataclass(frozen=True)
class ConvNet(NetworkPlan, name="convnet"):
    """Blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    On signals it slides along time, with kernels of 3 and pooling by 2, and on videos along time and both sides. Grey
    images of 28 pixels are padded to 32 by the first convolution. 320 010 parameters for ten classes of 3x32x32.
    """

    suits = frozenset({"image", "signal", "video"})

    width: Count | None = None
    """Channels; None for 128, or 32 for images up to 16 pixels. Published: 128."""
    depth: Layers | None = None
    """Blocks; None for 3 up to 32 pixels, 4 up to 64, 5 beyond."""
    norm: NormName = "instance"
    """Normalisation after each convolution; ``group`` has 4 groups. Published: instance."""
    activation: ActivationName = "relu"
    """Activation of each block."""
    pooling: PoolingName = "avg"
    """Pooling at the end of each block."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["gidaris2018dynamic"],)

    def fitted(self, card: DataCard) -> ConvNet:
        side = max(card.shape[1:])
        depth = 3 if side <= 32 else 4 if side <= 64 else 5
        return replace(self, width=self.width or (32 if side <= 16 else 128), depth=self.depth or depth)

    def build(self, card: DataCard) -> Structure:
        plan = self.fitted(card)
        assert plan.width is not None and plan.depth is not None
        channels, *sides = card.shape
        layers: list[Layer | None] = []
        for i in range(plan.depth):
            padding = 3 if i == 0 and tuple(card.shape) == (1, 28, 28) else 1
            conv = Conv(channels, plan.width, padding=padding, dims=len(sides))
            layers += [conv, norm(plan.norm, plan.width), Activation(plan.activation), Pooling(plan.pooling)]
            channels = plan.width
            sides = [side + 2 * (padding - 1) for side in sides]
            if plan.pooling != "none":
                sides = [side // 2 for side in sides]
            if min(sides) < 1:
                raise RecipeRefused(
                    f"A ConvNet of depth {plan.depth} leaves nothing of {card.kind}s of"
                    f" {'x'.join(map(str, card.shape[1:]))} after block {i + 1}: take"
                    f" {f'network.depth = {i} or less' if i else 'another network, such as mlp'}."
                )
        return Structure(chain(*layers, Flatten()), Linear(channels * math.prod(sides), card.outputs))
