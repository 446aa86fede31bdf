"""Bases that all classes share, and the addresses by which each class combines them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import codes_that_fit, reduced
from ddcore.carriers.picking import cluster_centres
from ddcore.context import Context
from ddcore.types import DataCard, Group, Network


@dataclass(frozen=True)
class SharedBases(Carrier):
    """Images read from bases that all classes share: x_cj = enlarge( sum_b A_cjb B_b ).

    A_c (m, bases) are the addresses of class c; images are enlarged bilinearly. m is what fits the bytes of ``ipc``
    images per class beside the bases.

    **Reference**: Deng and Russakovsky, Remember the Past, NeurIPS 2022, Section 3.2, and the budget of their code.

    **Differs**: the paper starts from noise only.
    """

    suits = frozenset({"image"})

    bases: Count | None = None
    """Bases B, shared by all classes; None for 12 times the images per class whose bytes it takes, in at most 3/10 of
    those bytes. Never more than a base has values: those span the rest. Published: 16."""
    scale: Count = 2
    """Sides of an image over those of a base; it must divide both sides. Published: 2."""
    init: Literal["noise", "real", "centres"] = "noise"
    """``noise`` draws standard normal bases, and addresses of standard deviation 1 / sqrt(bases), and asks nothing of
    T. The others take the best approximation, by singular vectors, of m images per class: ``real`` of random real
    images, ``centres`` of the centres of m clusters of all real ones (k-means). Bases beyond their rank start from
    noise."""
    most: Count = 500
    """Largest number of images per class; bytes beyond that stay unused."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset() if self.init == "noise" else frozenset({"examples"})

    def base(self, card: DataCard) -> tuple[int, int, int]:
        """A base's shape. Raises RecipeRefused where the images have none."""
        return card.shape[0], *reduced(card, self.scale)

    def count(self, card: DataCard) -> int:
        """Bases. Raises RecipeRefused where the images have none."""
        size, n = math.prod(self.base(card)), self.budget
        share = 3 * n * card.classes * math.prod(card.shape) // (10 * size)
        return min(size, self.bases or max(1, min(12 * n, share)))

    def images(self, card: DataCard) -> int:
        """Images per class. Raises RecipeRefused where not even one fits."""
        bases = self.count(card)
        return codes_that_fit(card, self.budget, bases * math.prod(self.base(card)), bases, self.most)

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        self.images(card)

    def build(self, card: DataCard) -> SharedBasesModule:
        return SharedBasesModule(self, card)


class SharedBasesModule(DecodedModule):
    def __init__(self, plan: SharedBases, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.versions = plan.images(card)
        self.side = card.shape[1:]
        self.bases = nn.Parameter(torch.zeros(plan.count(card), *plan.base(card)))
        self.addresses = nn.Parameter(torch.zeros(card.classes * self.versions, len(self.bases)))
        self.register_buffer("classes", classes_in_order([self.versions] * card.classes))

    def start(self, ctx: Context) -> None:
        with torch.no_grad():
            if self.plan.init == "noise":
                for tensor, scale in ((self.bases, 1.0), (self.addresses, len(self.bases) ** -0.5)):
                    tensor.copy_(scale * torch.randn(tensor.shape, generator=ctx.rng["init"]))
                return
            images = torch.cat([self._wanted(c, ctx) for c in range(ctx.card.classes)])
            left, values, right = torch.linalg.svd(images, full_matrices=False)
            held, size = min(len(self.bases), len(values)), math.sqrt(images.shape[1])
            self.addresses[:, :held] = left[:, :held] * values[:held] / size
            self.bases.copy_(torch.randn(self.bases.shape, generator=ctx.rng["init"]))
            self.bases[:held] = size * right[:held].view(-1, *self.bases.shape[1:])

    def _wanted(self, c: int, ctx: Context) -> Tensor:
        """The images (m, d) of class ``c`` that are approximated, at the size of the bases."""
        clustered = self.plan.init == "centres"
        (batch,) = ctx.gate.examples([Group((c,), None if clustered else self.versions)])
        small = F.interpolate(batch.inputs, self.bases.shape[2:], mode="area").flatten(1)
        if clustered and len(small) > self.versions:
            small = cluster_centres(small, self.versions, ctx.rng["init"])
        return small[torch.arange(self.versions) % len(small)]

    def forward(self, index: Tensor) -> Tensor:
        read = torch.tensordot(self.addresses[index], self.bases, 1)
        return F.interpolate(read, self.side, mode="bilinear", align_corners=False)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.addresses], "bases": [self.bases]}
