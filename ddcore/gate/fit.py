"""How a network is trained on T through the gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ddcore.augment.base import Augment
from ddcore.bounds import Count, NotNegative, Positive, Share
from ddcore.errors import RecipeRefused
from ddcore.gate.curriculum import Curriculum
from ddcore.optimisers import Optimiser, Sgd
from ddcore.parts import Part
from ddcore.schedules import Constant, Schedule
from ddcore.types import Params


@dataclass(frozen=True)
class Fit(Part, kind="fit"):
    """How a network is trained on T: on batches drawn without replacement, for ``steps`` or ``epochs``.

    **Reference**: ``rho`` and ``gap``, Zhuang et al., Surrogate Gap Minimization, ICLR 2022, Algorithm 1.

    **Differs**: where the gate's draws are secret, the two gradients of a step with ``rho`` are of two batches.
    """

    steps: Count | None = 200
    """Training steps; None where ``epochs`` are given."""
    epochs: Positive | None = None
    """Passes over T, not necessarily whole, instead of ``steps``."""
    batch: Count = 64
    """Items of T per step."""
    lr: Positive = 0.01
    """Learning rate."""
    optimiser: Optimiser = Sgd(momentum=0.9, weight_decay=5e-4)
    """What follows the gradients."""
    schedule: Schedule = Constant()
    """How the learning rate changes over the training."""
    snapshots: Count = 1
    """Points of the training that are kept, evenly spaced, always including the last one; the start is not counted."""
    augment: Augment | None = None
    """Augmentation, drawn anew for each batch, one change for all of its items."""
    cutmix: Share = 0.0
    """Probability that a batch is mixed: a box of each item comes from another, the labels in proportion."""
    rho: NotNegative = 0.0
    """How far uphill gradients are taken, weight by weight in proportion to the weight, so that flat minima are found;
    each step is then two requests. 0 for plain gradients."""
    gap: NotNegative = 0.0
    """How many times the part of the plain gradient that is orthogonal to the one taken uphill is subtracted from
    it."""

    curriculum: Curriculum | None = None
    """Which items batches are drawn from when; None for all of T all along."""

    image_fields = MappingProxyType({"cutmix": 0.0})

    def faults(self) -> Iterator[str]:
        if (self.steps is None) == (self.epochs is None):
            yield "a fit needs either steps or epochs, not both and not neither"
        if self.gap and not self.rho:
            yield f"gap = {self.gap} is the share of what the step uphill leaves over: give rho with it"

    @property
    def asks(self) -> frozenset[str]:
        return super().asks | {"fit"}

    @property
    def itemwise(self) -> bool:
        return self.cutmix == 0 and super().itemwise

    def length(self, items: int) -> int:
        """Steps on ``items`` of T. Raises RecipeRefused where there are fewer than snapshots."""
        steps = self.steps if self.steps is not None else round((self.epochs or 0) * math.ceil(items / self.batch))
        if steps < self.snapshots:
            raise RecipeRefused(f"{self} takes {steps} steps on {items} items, fewer than its snapshots.")
        return steps


def _norm(tensors: Params) -> Tensor:
    return torch.stack([value.square().sum() for value in tensors.values()]).sum().sqrt()


def uphill(params: Params, gradient: Params, rho: float) -> Params:
    """w + rho w^2 g / || |w| g ||: the worst point within ``rho``, measured in units of the weights."""
    length = _norm({name: value * gradient[name] for name, value in params.items()})
    return {name: w + rho * w.square() * gradient[name] / (length + 1e-12) for name, w in params.items()}


def flatter(here: Params, uphill: Params, gap: float) -> Params:
    """The gradient ``uphill``, less ``gap`` times that part of the gradient ``here`` which is orthogonal to it."""
    along = torch.stack([(here[name] * g).sum() for name, g in uphill.items()]).sum() / _norm(uphill).square()
    return {name: g - gap * (here[name] - along * g) for name, g in uphill.items()}
