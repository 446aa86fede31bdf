"""What every carrier is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddcore.bounds import Count
from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard, Network, Transform


@dataclass(frozen=True)
class Carrier(Part, kind="carrier"):
    """How the inputs of S are represented."""

    ipc: Count = 1
    """Images per class; a carrier that decodes its inputs takes the bytes of that many."""

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        """Raises RecipeRefused where the carrier does not suit the data."""
        if "examples" in self.asks and self.ipc > min(card.counts):
            small = card.counts.index(min(card.counts))
            raise RecipeRefused(
                f"ipc = {self.ipc} needs more real images than class {small} of {card.name} has"
                f" ({card.counts[small]}). Choose a smaller ipc."
            )

    @abstractmethod
    def build(self, card: DataCard) -> CarrierModule:
        """The live carrier, from shapes alone."""


class ImagesModule(CarrierModule):
    """Stores ``pixels`` (k * ipc, ...): images in the range of preprocessed inputs, each pixel learned."""

    def __init__(self, plan: Carrier, card: DataCard, items: int = 1) -> None:
        """``items``: how many inputs each image holds."""
        super().__init__()
        self.versions = items
        self.register_buffer("classes", classes_in_order(card, plan.ipc * items))
        self.pixels = nn.Parameter(torch.zeros(card.classes * plan.ipc, *card.shape))

    def project(self, into: Transform) -> None:
        with torch.no_grad():
            self.pixels.copy_(into(self.pixels))

    def nbytes(self) -> int:
        return self.pixels.nbytes


class DecodedModule(CarrierModule):
    """Decodes its inputs from its parameters, all of which are stored."""

    def nbytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.parameters())

    def latent(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.named_parameters()}


def classes_in_order(card: DataCard, ipc: int) -> Tensor:
    """The class of each item (k * ipc,), class by class."""
    return torch.arange(card.classes).repeat_interleave(ipc)
