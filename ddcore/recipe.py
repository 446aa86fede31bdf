"""A recipe: one composition of parts that says everything about a distillation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from ddcore.augment import Augment
from ddcore.carriers.base import Carrier
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.gate import GatePlan, Open, View
from ddcore.labels import Hard, Labels
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.objectives.base import Objective
from ddcore.parts import Catalogue, Part, from_dict, parse_toml, to_toml
from ddcore.policies.base import Policy
from ddcore.policies.fresh import Fresh
from ddcore.preprocess import Preprocess, Standardise
from ddcore.synthetic import SyntheticSet
from ddcore.types import Citation, DataCard

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Update(Part, kind="update"):
    """How gradients move S: a learning rate for each group of S's parameters, and one optimiser."""

    lr: dict[str, float] = field(default_factory=lambda: {"inputs": 1.0})
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.5
    """SGD's momentum, or Adam's first beta."""
    clip: float | None = None
    """Largest norm of the whole gradient, None for no limit."""
    schedule: Literal["constant", "cosine"] = "constant"
    ema: float | None = None
    """Decay of a running mean of all that is learned, which then is what comes out; None for the last values."""
    clamp: bool = False
    """Bring stored images back into the range of T's raw inputs, [0, 1], after each update."""

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise RecipeRefused(f"update.clip = {self.clip}: a largest norm is above zero and finite.")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise RecipeRefused(f"update.ema = {self.ema}: a decay is at least 0 and below 1.")

    def build(self, synthetic: SyntheticSet, steps: int) -> tuple[Optimizer, LRScheduler | None]:
        """The optimiser of ``synthetic`` and its schedule over ``steps``.

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
        rates = [{"params": groups[name], "lr": self.lr[name]} for name in sorted(groups)]
        optimiser: Optimizer
        if self.optimiser == "sgd":
            optimiser = torch.optim.SGD(rates, momentum=self.momentum)
        else:
            optimiser = torch.optim.Adam(rates, betas=(self.momentum, 0.999))
        return optimiser, CosineAnnealingLR(optimiser, steps) if self.schedule == "cosine" else None


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
