"""A recipe: one composition of parts that says everything about a distillation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ddcore.augment.base import Augment
from ddcore.carriers.base import Carrier
from ddcore.catalogue import Catalogue
from ddcore.errors import RecipeRefused
from ddcore.gate.base import GatePlan
from ddcore.gate.open import Open
from ddcore.gate.view import View
from ddcore.labels.base import Labels
from ddcore.labels.hard import Hard
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.objectives.base import Objective
from ddcore.packing import from_dict, parse_toml, to_toml
from ddcore.parts import Part
from ddcore.policies.base import Policy
from ddcore.policies.fresh import Fresh
from ddcore.preprocess import Preprocess, Standardise
from ddcore.types import Citation, DataCard
from ddcore.update import Update

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Recipe(Part, kind="recipe"):
    """A composition of parts. ``objective`` is None for methods that choose real items instead of learning."""

    name: str
    synthetic: Carrier
    objective: Objective | None = None
    policy: Policy = Fresh()
    labels: Labels = Hard()
    network: NetworkPlan = ConvNet()
    augment: Augment | None = None
    gate: GatePlan = Open()
    views: tuple[View, ...] = ()
    preprocess: Preprocess = Standardise()
    update: Update = Update()
    step_size: float | None = None
    """First value of a learning rate that is learned with S and belongs to it."""
    iterations: int = 0
    """Updates of S; a method that steps several times an update counts one."""
    seed: int = 0
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The plugins whose hooks are heard, in this order, with their options."""

    @property
    def ipc(self) -> int:
        return self.synthetic.ipc

    def check(self, card: DataCard) -> None:
        """Refuse what cannot work, before anything is built or read.

        Raises:
            RecipeRefused: in a sentence that names the part and what would help.
        """
        for where, part in self.parts():
            for ask in sorted(part.asks - self.gate.serves):
                instead = self.gate.instead.get(ask)
                raise RecipeRefused(
                    f"{where} = {part} asks {ask} of the real data, which the gate"
                    f" {self.gate.part_name()!r} does not serve (it serves {', '.join(sorted(self.gate.serves))})."
                    + (f" {instead}" if instead else "")
                )
        network = self.network.build(card)
        taught = self.objective is not None and self.policy.trained_on_real
        if self.objective is not None and self.objective.wants_teacher and not taught:
            raise RecipeRefused(
                f"{self.name} matches S with what a network has learned of T, but the networks of policy"
                f" {self.policy.part_name()!r} are not trained on T: take policy.name=teacher."
            )
        if self.labels.wants_teacher and not (taught or self.synthetic.judged):
            raise RecipeRefused(
                "labels.fit = none takes the trained network of the steps, or the one that images were chosen by, as a"
                f" teacher, and {self.name} has neither: leave labels.fit at its default, so that one is trained."
            )
        self.gate.check([part for _, part in self.parts()], network, card)
        if self.objective is not None:
            self.objective.check(network)
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise RecipeRefused(f"step_size = {self.step_size}: a learning rate is above zero and finite.")
        taken = self.objective.step_sizes if self.objective is not None else 0
        if self.step_size is None and taken:
            raise RecipeRefused(f"{self.name} trains at the step size of S: give the recipe a step_size.")
        if self.step_size is not None and not taken:
            raise RecipeRefused(f"step_size = {self.step_size}, but {self.name} does not train at it: leave it out.")
        if self.update.clamp and not self.preprocess.pointwise:
            raise RecipeRefused(
                f"update.clamp holds pixels in range one by one, which preprocess {self.preprocess.part_name()!r}"
                " mixes: set update.clamp = false."
            )
        if self.iterations < 0:
            raise RecipeRefused(f"iterations = {self.iterations}: it cannot be negative.")
        if self.objective is None and self.iterations:
            raise RecipeRefused(f"{self.name} has no objective, so it cannot make {self.iterations} iterations.")
        if self.objective is not None and not self.iterations:
            raise RecipeRefused(f"{self.name} learns S: iterations must be at least 1.")
        self.synthetic.check(card)

    def options(self, plugin: str, plan: type[P]) -> P:
        """The options that the recipe gives ``plugin``, as the part ``plan`` that holds them.

        Raises:
            RecipeRefused: an option that ``plan`` does not have, or that cannot be so.
        """
        return from_dict(plan, self.plugins.get(plugin, {}), Catalogue(), f"plugins.{plugin}")

    def to_toml(self) -> str:
        return to_toml(self)

    @staticmethod
    def from_toml(text: str, catalogue: Catalogue, where: str = "the recipe") -> Recipe:
        """Raises RecipeRefused or UnknownName where the text is not a recipe."""
        return from_dict(Recipe, parse_toml(text, where), catalogue)


M = TypeVar("M", bound=Callable[..., Recipe])


def method(*cites: Citation) -> Callable[[M], M]:
    """Mark a function that returns a recipe as a published method, with its papers."""

    def mark(function: M) -> M:
        function.kind = "method"  # type: ignore[attr-defined]
        function.cites = cites  # type: ignore[attr-defined]
        return function

    return mark
