"""What every network plan is."""

from __future__ import annotations

from abc import abstractmethod

from ddcore.parts import Part
from ddcore.types import DataCard, Network


class NetworkPlan(Part, kind="network"):
    """Which network, from its shape alone."""

    @abstractmethod
    def build(self, card: DataCard) -> Network:
        """The network for items and classes of ``card``. Raises RecipeRefused where the items are too small."""
