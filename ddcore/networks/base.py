"""What every network plan is."""

from __future__ import annotations

from abc import abstractmethod

from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.types import DataCard, Network


class NetworkPlan(Part, kind="network"):
    """Which network, from its shape alone."""

    @classmethod
    def part_name(cls) -> str:
        return cls.__name__.lower()

    @abstractmethod
    def build(self, card: DataCard) -> Network:
        """The network for items and classes of ``card``. Raises RecipeRefused where the items are too small."""


def at_least_one(plan: NetworkPlan, **sizes: int | None) -> None:
    """Raises RecipeRefused where a size of ``plan`` was given and is below 1."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise RecipeRefused(f"{name} = {size}: {plan.part_name()} needs at least 1.")
