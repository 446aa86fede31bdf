"""What every labels part is."""

from __future__ import annotations

from abc import abstractmethod

from ddcore.parts import Part
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard


class Labels(Part, kind="labels"):
    """What the targets of S are."""

    @property
    def teaches(self) -> bool:
        """They bring what a network can be taught by while it is trained."""
        return False

    @abstractmethod
    def build(self, card: DataCard, carrier: CarrierModule) -> LabelModule:
        """Labels for the items of ``carrier``."""
