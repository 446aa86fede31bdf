"""What every carrier is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard


@dataclass(frozen=True)
class Carrier(Part, kind="carrier"):
    """How the inputs of S are represented, for ``ipc`` images per class."""

    ipc: int = 1

    def __post_init__(self) -> None:
        if self.ipc < 1:
            raise RecipeRefused(f"ipc = {self.ipc}: at least one image per class is needed.")

    def check(self, card: DataCard) -> None:
        """Raises RecipeRefused where the carrier does not suit the data."""
        if "examples" in self.asks and self.ipc > min(card.counts):
            small = card.counts.index(min(card.counts))
            raise RecipeRefused(
                f"ipc = {self.ipc} wants more real images than class {small} of {card.name} has"
                f" ({card.counts[small]}). Choose a smaller ipc, or a start from noise."
            )

    @abstractmethod
    def build(self, card: DataCard) -> CarrierModule:
        """The live carrier, from shapes alone."""


def classes_in_order(card: DataCard, ipc: int) -> Tensor:
    """The class of each item (k * ipc,), class by class."""
    return torch.arange(card.classes).repeat_interleave(ipc)
