"""Codes of each class, and small decoders that all classes share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import Decoders, Doubled, codes_that_fit, enlarging, reduced, scale_faults
from ddcore.carriers.picking import in_turn
from ddcore.context import Context
from ddcore.device import sent
from ddcore.networks.layers import chain
from ddcore.types import DataCard, Group, Network


@dataclass(frozen=True)
class Codes(Carrier):
    """Learned codes of each class, decoded to images by a few learned decoders that all classes share: x = g_d(z_cj).

    A decoder doubles the sides of a code step by step, with a 3x3 convolution after each. There are as many codes as
    fit the bytes of ``ipc`` images per class, the decoders' weights counted. Items are ordered class by class, the
    images of one code together.

    **Reference**: Lee et al., Dataset Condensation with Latent Space Knowledge Factorization and Sharing, 2022, Section
    3.

    **Differs**: the paper's decoders are transposed convolutions; ours enlarge bilinearly and convolve, with fewer
    weights.
    """

    suits = frozenset({"image"})

    decoders: Count = 2
    """Decoders, shared by all classes; each makes an image of every code."""
    channels: Count | None = None
    """Channels of a code; None for 2 times the root of the images per class whose bytes it takes, rounded down."""
    width: Count | None = None
    """Channels between the convolutions of a decoder; None for 8 times that root, so that the decoders keep their share
    of the bytes."""
    scale: Doubled = 4
    """Sides of an image over those of a code: a power of two that divides both sides."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws standard normal codes and asks nothing of T; ``real`` then fits codes and decoders to random real
    images, one for each pair of code and decoder, by Adam on the squared error."""
    fit: Count = 500
    """Steps of that fit."""
    fit_batch: Count = 256
    """Images of each of those steps; all of them where they are fewer."""
    most: Count = 500
    """Largest number of images per class; bytes beyond that stay unused."""

    def faults(self) -> Iterator[str]:
        return scale_faults(self.scale)

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def code(self, card: DataCard) -> tuple[int, int, int]:
        """A code's shape. Raises RecipeRefused where the images have none."""
        return self.channels or 2 * math.isqrt(self.budget), *reduced(card, self.scale)

    def live_decoders(self, card: DataCard) -> Decoders:
        channels, *_ = self.code(card)
        width = self.width or 8 * math.isqrt(self.budget)
        return Decoders(chain(*enlarging(card, channels, width, self.scale)), self.decoders)

    def codes(self, card: DataCard) -> int:
        """Codes per class. Raises RecipeRefused where not even one fits."""
        weights = sum(p.numel() for p in self.live_decoders(card).parameters())
        return codes_that_fit(
            card, self.budget, weights, math.prod(self.code(card)), max(1, self.most // self.decoders)
        )

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        self.codes(card)

    def build(self, card: DataCard) -> CodesModule:
        return CodesModule(self, card)


class CodesModule(DecodedModule):
    def __init__(self, plan: Codes, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.each, self.versions = plan.codes(card), plan.decoders
        self.codes = nn.Parameter(torch.zeros(card.classes * self.each, *plan.code(card)))
        self.decoders = plan.live_decoders(card)
        self.register_buffer("classes", classes_in_order([self.each * plan.decoders] * card.classes))

    def start(self, ctx: Context) -> None:
        self.decoders.start(ctx.rng["init"])
        with torch.no_grad():
            self.codes.copy_(torch.randn(self.codes.shape, generator=ctx.rng["init"]))
        if self.plan.init == "real":
            self._fit(ctx)

    def _fit(self, ctx: Context) -> None:
        groups = [Group((c,), self.each * self.plan.decoders) for c in range(ctx.card.classes)]
        rows, images = [], []
        for c, batch in enumerate(ctx.gate.examples(groups)):
            mine = (self.classes == c).nonzero().flatten()
            rows.append(mine)
            images.append(in_turn(batch.inputs, len(mine)))
        index, wanted = torch.cat(rows), torch.cat(images)
        optimiser = torch.optim.Adam(self.parameters(), lr=0.02)
        for step in range(self.plan.fit):
            some = sent(torch.randperm(len(index), generator=ctx.rng["fit"])[: self.plan.fit_batch], ctx.device)
            optimiser.zero_grad()
            (self(index[some]) - wanted[some]).square().mean().backward()
            optimiser.step()
            if ctx.progress:
                ctx.progress("fitting codes", step + 1, self.plan.fit)
        optimiser.zero_grad()

    def forward(self, index: Tensor) -> Tensor:
        codes, place = (index // self.plan.decoders).unique(return_inverse=True)
        return self.decoders(self.codes[codes])[place, index % self.plan.decoders]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.codes], "decoders": list(self.decoders.parameters())}
