"""Images as a few coefficients of a cosine transform."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from ddcore.bounds import Count, PositiveShare
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import codes_that_fit
from ddcore.carriers.picking import in_turn
from ddcore.context import Context
from ddcore.types import Call, DataCard, Draw, Group, Network, Params


def cosines(n: int) -> Tensor:
    """The orthonormal cosine transform (n, n), DCT-II, in float64: row u is cos( pi u (2 i + 1) / 2 n ), scaled."""
    places = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / (2 * n) * places[:, None] * (2 * places + 1)) * math.sqrt(2 / n)
    return torch.cat([rows[:1] / math.sqrt(2), rows[1:]])


@dataclass(frozen=True)
class Energies(Network):
    """A network whose features are the squares of an image's coefficients (n, c h w), by transforms ``down`` (h, h) and
    ``across`` (w, w). So a gate's mean features are the energies of T's frequencies.
    """

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[Params, Params]:
        raise NotImplementedError("It has no start: its transforms are known.")

    def apply(self, call: Call, x: Tensor) -> Tensor:
        return (call.params["down"] @ x @ call.params["across"].T).flatten(1).square()


@dataclass(frozen=True)
class Cosines(Carrier):
    """Images that hold few frequencies: x = the inverse cosine transform of learned coefficients at m places of (c, h,
    w), the same for all images, and of zeros elsewhere.

    The m places are those of the most energy in T, so that no other m lose less of T. There are as many images as
    fit the bytes of ``ipc`` images per class, the places counted.

    **Reference**: Shin et al., Frequency Domain-Based Dataset Distillation, NeurIPS 2023.

    **Differs**: the paper takes the frequencies that explain most of T's variance; ours are those of the most energy,
    mean included, as no mean is stored. Classes share the places.
    """

    suits = frozenset({"image"})

    kept: PositiveShare = 0.25
    """Share of an image's coefficients that is learned and stored, at least one."""
    chosen: Literal["energy", "low"] = "energy"
    """``energy`` asks T for the mean energy of each frequency; ``low`` takes the lowest frequencies, by u / h + v / w,
    and asks nothing."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws standard normal coefficients and asks nothing of T; ``real`` starts from those of random real
    images. A class with fewer images than wanted uses them again."""
    most: Count = 500
    """Largest number of images per class; bytes beyond that stay unused."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset(
            [*(["examples"] if self.init == "real" else []), *(["features"] if self.chosen == "energy" else [])]
        )

    def places(self, card: DataCard) -> int:
        """How many coefficients an image has."""
        return max(1, math.floor(self.kept * math.prod(card.shape)))

    def images(self, card: DataCard) -> int:
        """Images per class. Raises RecipeRefused where not even one fits."""
        return codes_that_fit(card, self.budget, self.places(card), self.places(card), self.most)

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        self.images(card)

    def build(self, card: DataCard) -> CosinesModule:
        return CosinesModule(self, card)


class CosinesModule(DecodedModule):
    """``places`` (m,) are places among the flattened coefficients (c h w)."""

    places: Tensor
    down: Tensor
    across: Tensor

    def __init__(self, plan: Cosines, card: DataCard) -> None:
        super().__init__()
        self.plan, self.shape = plan, card.shape
        each, places = plan.images(card), plan.places(card)
        self.coefficients = nn.Parameter(torch.zeros(card.classes * each, places))
        self.register_buffer("places", torch.zeros(places, dtype=torch.int32))
        self.register_buffer("classes", classes_in_order([each] * card.classes))
        for name, side in zip(("down", "across"), card.shape[1:], strict=True):
            self.register_buffer(name, cosines(side).float(), persistent=False)

    def start(self, ctx: Context) -> None:
        c, h, w = self.shape
        if self.plan.chosen == "energy":
            transforms = {"down": self.down, "across": self.across}
            (weight,) = ctx.gate.features(Draw(Energies(), transforms, {}), [Group()])
        else:
            weight = -(torch.arange(h)[:, None] / h + torch.arange(w) / w).expand(c, h, w).flatten()
        with torch.no_grad():
            self.places.copy_(weight.topk(len(self.places)).indices.sort().values)
            if self.plan.init == "noise":
                self.coefficients.copy_(torch.randn(self.coefficients.shape, generator=ctx.rng["init"]))
                return
            for c in range(ctx.card.classes):
                mine = (self.classes == c).nonzero().flatten()
                (batch,) = ctx.gate.examples([Group((c,), len(mine))])
                turned = (self.down @ batch.inputs @ self.across.T).flatten(1)[:, self.places]
                self.coefficients[mine] = in_turn(turned, len(mine))

    def forward(self, index: Tensor) -> Tensor:
        held = self.coefficients[index]
        whole = held.new_zeros(len(held), math.prod(self.shape)).index_copy(1, self.places.long(), held)
        return self.down.T @ whole.view(-1, *self.shape) @ self.across

    def nbytes(self) -> int:
        return super().nbytes() + self.places.nbytes

    def latent(self) -> dict[str, Tensor]:
        return {**super().latent(), "places": self.places.cpu().clone()}

    def restore(self, latent: dict[str, Tensor]) -> None:
        places = latent.get("places", self.places)
        super().restore({name: value for name, value in latent.items() if name != "places"})
        self.places.copy_(places)
