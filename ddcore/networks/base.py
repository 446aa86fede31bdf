"""What every network plan is."""

from __future__ import annotations

from abc import abstractmethod

from ddcore.networks.checked import checked
from ddcore.parts import Part
from ddcore.types import DataCard, Network


class NetworkPlan(Part, kind="network"):
    """Which network, from its shape alone."""

    @abstractmethod
    def build(self, card: DataCard) -> Network:
        """The network for items and classes of ``card``. Raises RecipeRefused where the items are too small."""

    def ready(self, card: DataCard) -> Network:
        """The network for ``card``, with what was left to the data decided, once it has been tried.

        Raises:
            RecipeRefused: the items are too small, the network is too large for memory, or no network at all.
        """
        return checked(f"network {self.part_name()}", lambda: self.fitted(card).build(card), card)
