"""How a network is trained on T through the gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ddcore.augment.base import Augment
from ddcore.bounds import NotNegative
from ddcore.errors import RecipeRefused
from ddcore.optimisers import Optimiser, Sgd
from ddcore.parts import Part
from ddcore.schedules import Constant, Schedule
from ddcore.types import Params


@dataclass(frozen=True)
class Fit(Part, kind="fit"):
    """How a network is trained on T: on batches drawn without replacement, for ``steps`` or ``epochs``.

    ``rho`` above zero steps along gradients taken that far uphill, weight by weight in proportion to the weight, so
    that flat minima are found; of the gradient at the point itself, what is orthogonal to that is then subtracted
    ``gap`` times. Reference: Zhuang et al., Surrogate Gap Minimization, ICLR 2022, Algorithm 1. Each step is two
    requests. Differs: where the gate's draws are secret, the two gradients are of two batches.
    """

    steps: int | None = 200
    epochs: float | None = None
    batch: int = 64
    lr: NotNegative = 0.01
    optimiser: Optimiser = Sgd(momentum=0.9, weight_decay=5e-4)
    schedule: Schedule = Constant()
    snapshots: int = 1
    """How many points of the way are kept, evenly spaced and the last one always; the start is not one."""
    augment: Augment | None = None
    """Drawn anew for each batch, one change for all of its items."""
    cutmix: float = 0.0
    """Probability that a batch is mixed: a box of each item comes from another, the labels in proportion."""
    rho: NotNegative = 0.0
    gap: NotNegative = 0.0

    image_fields = MappingProxyType({"cutmix": 0.0})

    def faults(self) -> Iterator[str]:
        if (self.steps is None) == (self.epochs is None):
            yield ("A fit says either steps or epochs, not both and not neither.")
        if not min(self.steps or self.epochs or 0, self.batch, self.snapshots) > 0 or not 0 <= self.cutmix <= 1:
            yield (f"{self}: steps, batch and snapshots must be above zero, cutmix within 0 and 1.")
        if self.gap and not self.rho:
            yield ("A fit's gap is the share of what the step uphill leaves over: give rho with it.")

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"fit"})

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
