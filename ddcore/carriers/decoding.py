"""Images from codes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ddcore.errors import RecipeRefused
from ddcore.networks.layers import Activation, At, Chain, Conv, Layer
from ddcore.types import DataCard, Params

Doubled = Annotated[int, Ge(2)]
"""A factor that is reached by doubling."""


def scale_faults(scale: int) -> Iterator[str]:
    if scale & (scale - 1):
        yield f"scale = {scale}: sides are doubled, so it must be a power of two"


def doublings(scale: int) -> int:
    """How often sides are doubled to grow ``scale`` times."""
    return scale.bit_length() - 1


def reduced(card: DataCard, scale: int) -> tuple[int, int]:
    """Sides of an image over ``scale``. Raises RecipeRefused where that does not divide them, or items have none."""
    if len(card.shape) != 3 or any(side % scale for side in card.shape[1:]):
        raise RecipeRefused(
            f"Images are decoded from 1/{scale} of their sides, but the items of {card.name} are {card.shape}: take"
            " a synthetic.scale that divides both sides."
        )
    return card.shape[1] // scale, card.shape[2] // scale


def codes_that_fit(card: DataCard, ipc: int, decoding: int, code: int, most: int) -> int:
    """Codes per class, of ``code`` values each, that fit ``ipc`` images per class, beside ``decoding`` values for all.

    At most ``most``.

    Raises:
        RecipeRefused: not even one fits.
    """
    budget = ipc * card.classes * math.prod(card.shape)
    found = (budget - decoding) // (card.classes * code)
    if found < 1:
        raise RecipeRefused(
            f"{ipc} images per class of {card.name} are {budget} values, but decoding takes {decoding} and one code per"
            f" class {card.classes * code}: take a smaller decoder and smaller codes (see the fields of synthetic), or"
            " a larger ipc."
        )
    return min(found, most)


@dataclass(frozen=True)
class Enlarge(Layer):
    """Twice the height and the width, bilinearly."""

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def enlarging(card: DataCard, channels: int, width: int, scale: int) -> list[Layer]:
    """Layers from (n, channels, h / scale, w / scale) to images: after each doubling a 3x3 convolution."""
    layers: list[Layer] = []
    for left in reversed(range(doublings(scale))):
        out = width if left else card.shape[0]
        layers += [Enlarge(), Conv(channels, out), *([Activation("leaky_relu")] if left else [])]
        channels = out
    return layers


class Decoders(nn.Module):
    """``nets`` networks of the same structure, whose weights are parameters of this module."""

    def __init__(self, chain: Chain, nets: int = 1) -> None:
        super().__init__()
        self.chain = chain
        self.nets = nets
        drawn = self._drawn(Generator())
        self._paths = tuple(drawn)
        for path, value in drawn.items():
            self.register_parameter(path.replace(".", "_"), nn.Parameter(value))

    def _drawn(self, generator: Generator) -> Params:
        starts: list[Params] = []
        for _ in range(self.nets):
            starts.append({})
            self.chain.init("decoder", generator, starts[-1], {})
        return {name: torch.stack([start[name] for start in starts]) for name in starts[0]}

    def start(self, generator: Generator) -> None:
        """Weights drawn from ``generator``."""
        self._fill(self._drawn(generator))

    def take(self, params: Params) -> None:
        """The weights that stand in ``params`` under ``decoder.``, for every one of the networks."""
        self._fill({path: params[path].expand(self.nets, *params[path].shape) for path in self._paths})

    def _fill(self, weights: Params) -> None:
        with torch.no_grad():
            for path, held in zip(self._paths, self.parameters(), strict=True):
                held.copy_(weights[path])

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, ...) through every decoder: (n, nets, c, h, w)."""
        params: Params = dict(zip(self._paths, self.parameters(), strict=True))
        each = codes.repeat(1, self.nets, *(1 for _ in codes.shape[2:]))
        return self.chain(At(params, {}, True, self.nets), "decoder", each).unflatten(1, (self.nets, -1))
