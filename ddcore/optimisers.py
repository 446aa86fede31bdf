"""Optimisers: torch's own, as parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from ddcore.bounds import Decay, NotNegative
from ddcore.parts import Part


class Optimiser(Part, kind="optimiser"):
    """Which optimiser follows a gradient; the learning rate belongs to who uses it."""

    @abstractmethod
    def of(self, groups: list[dict[str, Any]]) -> Optimizer:
        """Torch's optimiser of ``groups`` of parameters, as torch has them: each with ``params`` and ``lr``."""

    def build(self, *rates: tuple[Iterable[torch.Tensor], float]) -> Optimizer:
        """The optimiser of groups of parameters, each with its learning rate, which it keeps as ``initial_lr``."""
        return self.of([{"params": list(params), "lr": lr, "initial_lr": lr} for params, lr in rates])


@dataclass(frozen=True)
class Sgd(Optimiser):
    """Stochastic gradient descent with momentum."""

    momentum: Decay = 0.9
    """Share of the last step that the next one keeps."""
    weight_decay: NotNegative = 0.0
    """Times the weights is added to their gradient."""

    def of(self, groups: list[dict[str, Any]]) -> Optimizer:
        return torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam (Kingma and Ba, ICLR 2015)."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decays of the running means of the gradient and of its square."""
    weight_decay: NotNegative = 0.0
    """Times the weights is added to their gradient."""

    def of(self, groups: list[dict[str, Any]]) -> Optimizer:
        return torch.optim.Adam(groups, betas=self.betas, weight_decay=self.weight_decay, fused=True)


@dataclass(frozen=True)
class AdamW(Optimiser):
    """Adam whose weight decay goes past the moments (Loshchilov and Hutter, ICLR 2019)."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decays of the running means of the gradient and of its square."""
    weight_decay: NotNegative = 0.01
    """Times the learning rate and the weights is taken from the weights."""

    def of(self, groups: list[dict[str, Any]]) -> Optimizer:
        return torch.optim.AdamW(groups, betas=self.betas, weight_decay=self.weight_decay, fused=True)


PARTS = (Sgd, Adam, AdamW)
