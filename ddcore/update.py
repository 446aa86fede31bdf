"""How gradients move S."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch.optim import Optimizer

from ddcore.bounds import Count, Decay, Positive
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.optimisers import Optimiser, Sgd
from ddcore.parts import Part
from ddcore.schedules import Constant, Schedule
from ddcore.synthetic import SyntheticSet
from ddcore.types import DataCard, Network


@dataclass(frozen=True)
class Update(Part, kind="update"):
    """How gradients move S: a learning rate for each group of S's parameters, and one optimiser."""

    lr: dict[str, Positive] = field(default_factory=lambda: {"inputs": 1.0})
    """The learning rate of each group."""
    optimiser: Optimiser = Sgd(momentum=0.5)
    """What follows the gradients."""
    clip: Positive | None = None
    """Largest norm of the whole gradient, None for no limit."""
    schedule: Schedule = Constant()
    """How the learning rates change over the iterations."""
    ema: Decay | None = None
    """Decay of a running mean of all that is learned, which then is what comes out; None for the last values."""
    clamp: bool = False
    """Bring stored images back into the range of T's raw inputs, [0, 1], after each update."""
    turns: dict[str, Count] = field(default_factory=dict)
    """Groups that take turns, each with its steps in a row, in this order and round again: {"edges": 10, "inputs": 40}.
    Groups that are not named learn at every step."""

    image_fields = MappingProxyType({"clamp": False})

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        if self.clamp and not card.unit_range:
            raise RecipeRefused(
                f"update.clamp holds images within [0, 1], but those of {card.name} came as floats, whose range is not"
                " known: set update.clamp = false, or give the images as uint8."
            )
        if self.clamp and not recipe.preprocess.pointwise:
            raise RecipeRefused(
                f"update.clamp holds pixels in range one by one, which preprocess {recipe.preprocess.part_name()!r}"
                " mixes: set update.clamp = false."
            )

    def resting(self, step: int) -> frozenset[str]:
        """The groups that do not learn at ``step``."""
        left = step % sum(self.turns.values()) if self.turns else 0
        for name, steps in self.turns.items():
            if left < steps:
                return frozenset(self.turns) - {name}
            left -= steps
        return frozenset()

    def build(self, synthetic: SyntheticSet) -> Optimizer:
        """The optimiser of ``synthetic``.

        Raises:
            RecipeRefused: a learned group without a learning rate, or a rate for a group that does not exist.
        """
        groups = synthetic.groups()
        for name in self.lr.keys() ^ groups.keys():
            if name in self.lr:
                raise RecipeRefused(f"update.lr: {UnknownName('group of parameters', name, groups)}")
            raise RecipeRefused(f"S learns its {name}, but update.lr gives no rate for it: add update.lr.{name}.")
        for name in self.turns.keys() - groups.keys():
            raise RecipeRefused(f"update.turns: {UnknownName('group of parameters', name, groups)}")
        if not groups:
            raise RecipeRefused(
                "Nothing of S is learned: its images and its labels are fixed. Take a synthetic or labels that learn."
            )
        return self.optimiser.build(*((groups[name], self.lr[name]) for name in sorted(groups)))


PARTS = (Update,)
