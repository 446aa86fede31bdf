"""How gradients move S."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from ddcore.bounds import Decay, Positive
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

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        if self.clamp and not recipe.preprocess.pointwise:
            raise RecipeRefused(
                f"update.clamp holds pixels in range one by one, which preprocess {recipe.preprocess.part_name()!r}"
                " mixes: set update.clamp = false."
            )

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
        if not groups:
            raise RecipeRefused(
                "Nothing of S is learned: its images and its labels are fixed. Take a synthetic or labels that learn."
            )
        return self.optimiser.build(*((groups[name], self.lr[name]) for name in sorted(groups)))


PARTS = (Update,)
