"""Schedules: how a learning rate changes over a training."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch.optim import Optimizer

from ddcore.parts import Part


class Schedule(Part, kind="schedule"):
    """How a learning rate changes over a training."""

    @abstractmethod
    def rate(self, lr: float, step: int, steps: int) -> float:
        """The learning rate of ``step`` (from 0) of ``steps``, where ``lr`` is the rate that was asked for."""

    def restarts(self, step: int, steps: int) -> bool:
        """The optimiser forgets its moments before ``step``; never by default."""
        return False

    def apply(self, optimiser: Optimizer, step: int, steps: int) -> None:
        """Prepare ``optimiser``, whose groups hold the rate asked for as ``initial_lr``, for ``step`` of ``steps``."""
        if self.restarts(step, steps):
            optimiser.state.clear()
        for group in optimiser.param_groups:
            group["lr"] = self.rate(group["initial_lr"], step, steps)


@dataclass(frozen=True)
class Constant(Schedule):
    """One rate throughout."""

    def rate(self, lr: float, step: int, steps: int) -> float:
        return lr


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine, from the full rate down to zero."""

    def rate(self, lr: float, step: int, steps: int) -> float:
        return lr * (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class Half(Schedule):
    """From half way on a tenth of the rate, with the optimiser's moments forgotten."""

    def rate(self, lr: float, step: int, steps: int) -> float:
        return lr if step < steps // 2 else lr / 10

    def restarts(self, step: int, steps: int) -> bool:
        return step == steps // 2


@dataclass(frozen=True)
class Thirds(Schedule):
    """A fifth of the rate from two thirds on, and a fifth of that from five sixths on."""

    def rate(self, lr: float, step: int, steps: int) -> float:
        return lr * 0.2 ** ((3 * step >= 2 * steps) + (6 * step >= 5 * steps))


@dataclass(frozen=True)
class Warm(Schedule):
    """Up from zero in a straight line over the first half, then down along half a cosine."""

    def rate(self, lr: float, step: int, steps: int) -> float:
        if 2 * step < steps:
            return lr * min(1.0, 2 * (step + 1) / steps)
        return lr * (1 + math.cos(math.pi * (2 * step / steps - 1))) / 2


PARTS = (Constant, Cosine, Half, Thirds, Warm)
