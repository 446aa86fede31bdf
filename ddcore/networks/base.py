"""What every network plan is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
        tried = _tried.get([])
        for plan, known, network in tried:
            if plan == self and known == card:
                return network
        network = checked(f"network {self.part_name()}", lambda: self.fitted(card).build(card), card)
        tried.append((self, card, network))
        return network


_tried: ContextVar[list[tuple[NetworkPlan, DataCard, Network]]] = ContextVar("tried")


@contextmanager
def tried_once() -> Iterator[None]:
    """Within it each plan is tried once for a card. It lasts for one run: between runs a module may be rewritten."""
    token = _tried.set(_tried.get([]))
    try:
        yield
    finally:
        _tried.reset(token)
