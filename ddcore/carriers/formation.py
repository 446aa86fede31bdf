"""Images that are cut into tiles, each tile an item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, ImagesModule
from ddcore.carriers.picking import in_turn
from ddcore.carriers.tiles import cut, enlarged, joined, tile_size
from ddcore.context import Context
from ddcore.types import DataCard, Group, Network


@dataclass(frozen=True)
class Formation(Carrier):
    """``ipc`` stored images per class, each cut into ``factor``^2 tiles that are decoded to items of full size.

    A tile (c, h / factor, w / factor) is enlarged to (c, h, w) bilinearly, without aligned corners.

    **Reference**: Kim et al., IDC, ICML 2022, the uniform multi-formation.
    """

    suits = frozenset({"image"})

    factor: Count = 2
    """Tiles per side of a stored image; it must divide both sides. Published: 2 for CIFAR-10."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws a standard normal and asks nothing of T; ``real`` makes each tile a random real image, reduced by
    averaging pixels. A class with fewer images than tiles uses them again."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        tile_size(card, self.factor)

    def build(self, card: DataCard) -> FormationModule:
        return FormationModule(self, card)


class FormationModule(ImagesModule):
    """Item i is tile i % factor^2, row by row, of the stored image i // factor^2."""

    def __init__(self, plan: Formation, card: DataCard) -> None:
        super().__init__(plan, card, items=plan.factor**2)
        self.plan = plan
        self.size = (card.shape[1], card.shape[2])
        self.tile = tile_size(card, plan.factor)

    def start(self, ctx: Context) -> None:
        with torch.no_grad():
            if self.plan.init == "noise":
                self.pixels.copy_(torch.randn(self.pixels.shape, generator=ctx.rng["init"]))
                return
            tiles = []
            for c in range(ctx.card.classes):
                wanted = int((self.classes == c).sum())
                (batch,) = ctx.gate.examples([Group(classes=(c,), size=wanted)])
                tiles.append(F.interpolate(in_turn(batch.inputs, wanted), size=self.tile, mode="area"))
            self.pixels.copy_(joined(torch.cat(tiles), self.plan.factor))

    def forward(self, index: Tensor) -> Tensor:
        return enlarged(cut(self.pixels, self.plan.factor)[index], self.size)

    def latent(self) -> dict[str, Tensor]:
        return {"images": self.pixels.detach().cpu().clone()}

    def restore(self, latent: dict[str, Tensor]) -> None:
        super().restore({"pixels" if name == "images" else name: value for name, value in latent.items()})
