"""Hallucinated images: few bases, each seen through several small networks that all classes share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddcore.bounds import Count, NotNegative
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import reduced
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.types import DataCard, Group, Network


@dataclass(frozen=True)
class Hallucinated(Carrier):
    """x_ij = dec_j( sigma_j * enc_j(base_i) + mu_j ), within the bytes of ``ipc`` images per class.

    A hallucinator j is a 3x3 convolution to ``width`` channels, a scale and a shift of each value, bilinear enlargement
    and a 3x3 convolution back. All weights count, so the number of bases per class is what remains of ipc k c h w
    values, divided evenly.

    **Reference**: Liu et al., HaBa, NeurIPS 2022, Section 3.1.

    **Differs**: bases are smaller than images, hallucinators are two convolutions, and the budget holds for both
    together.
    """

    suits = frozenset({"image"})

    hallucinators: Count = 2
    """Hallucinators, shared by all classes; each makes an image of every base. Published: 5."""
    width: Count = 2
    """Channels between the two convolutions of a hallucinator."""
    scale: Count = 2
    """Sides of an image over those of a base; it must divide both sides."""
    jitter: NotNegative = 0.1
    """Standard deviation of the noise by which hallucinators start away from plain enlargement."""
    init: Literal["noise", "real"] = "real"
    """``noise`` draws standard normal bases and asks nothing of T; ``real`` starts from random real images, reduced."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def bases(self, card: DataCard) -> int:
        """Bases per class. Raises RecipeRefused where the budget leaves none."""
        c, h, w = self._shape(card)
        numbers = self.budget * card.classes * math.prod(card.shape)
        network = 2 * (9 * c * self.width) + self.width + c + 2 * self.width * h * w
        left = (numbers - self.hallucinators * network) // (card.classes * c * h * w)
        if left < 1:
            raise RecipeRefused(
                f"{self.hallucinators} hallucinators of {network} values leave no base of {c}x{h}x{w} per class within"
                f" {self.ipc} images per class of {card.name}: take fewer hallucinators, a smaller width, or more ipc."
            )
        return left

    def _shape(self, card: DataCard) -> tuple[int, int, int]:
        return card.shape[0], *reduced(card, self.scale)

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        bases = self.bases(card)
        if self.init == "real" and bases > min(card.counts):
            raise RecipeRefused(
                f"{bases} bases per class need more real images than the smallest class of {card.name} has"
                f" ({min(card.counts)}). Take a smaller ipc, or synthetic.init = noise."
            )

    def build(self, card: DataCard) -> HallucinatedModule:
        return HallucinatedModule(self, card, self.bases(card), self._shape(card))


class Hallucinator(nn.Module):
    """One small network from a base (n, c, h, w) to an image."""

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.encoder = nn.Parameter(torch.zeros(width, c, 3, 3))
        self.encoder_bias = nn.Parameter(torch.zeros(width))
        self.sigma = nn.Parameter(torch.ones(width, h, w))
        self.mu = nn.Parameter(torch.zeros(width, h, w))
        self.decoder = nn.Parameter(torch.zeros(c, width, 3, 3))
        self.decoder_bias = nn.Parameter(torch.zeros(c))

    def start(self, jitter: float, generator: torch.Generator) -> None:
        """The identity from channel to channel, as far as there are channels, and noise on every weight."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += jitter * torch.randn(parameter.shape, generator=generator).to(parameter)
            for i in range(min(self.encoder.shape[:2])):
                self.encoder[i, i, 1, 1] += 1
                self.decoder[i, i, 1, 1] += 1

    def forward(self, bases: Tensor, side: tuple[int, int]) -> Tensor:
        inner = self.sigma * F.conv2d(bases, self.encoder, self.encoder_bias, padding=1) + self.mu
        grown = F.interpolate(inner, side, mode="bilinear", align_corners=False)
        return F.conv2d(grown, self.decoder, self.decoder_bias, padding=1)


class HallucinatedModule(DecodedModule):
    """Items stand class by class, base by base, version by version."""

    def __init__(self, plan: Hallucinated, card: DataCard, bases: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.plan = plan
        self.versions = plan.hallucinators
        self.side = (card.shape[1], card.shape[2])
        self.bases = nn.Parameter(torch.zeros(card.classes * bases, *shape))
        self.hallucinators = nn.ModuleList(Hallucinator(shape, plan.width) for _ in range(plan.hallucinators))
        self.register_buffer("classes", classes_in_order([bases * self.versions] * card.classes))

    def start(self, ctx: Context) -> None:
        generator = ctx.rng["init"]
        for hallucinator in self.hallucinators:
            cast(Hallucinator, hallucinator).start(self.plan.jitter, generator)
        with torch.no_grad():
            if self.plan.init == "noise":
                self.bases.copy_(torch.randn(self.bases.shape, generator=generator))
                return
            for c, own in enumerate(self.bases.view(ctx.card.classes, -1, *self.bases.shape[1:])):
                (batch,) = ctx.gate.examples([Group(classes=(c,), size=len(own))])
                own.copy_(F.interpolate(batch.inputs, own.shape[2:], mode="area"))

    def forward(self, index: Tensor) -> Tensor:
        base, version = index // self.versions, index % self.versions
        images = self.bases.new_empty(len(index), self.bases.shape[1], *self.side)
        for j, hallucinator in enumerate(self.hallucinators):
            rows = (version == j).nonzero().flatten()
            images = images.index_copy(0, rows, hallucinator(self.bases[base[rows]], self.side))
        return images

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.bases], "hallucinators": list(self.hallucinators.parameters())}
