"""MLP: fully connected layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ddcore.networks.base import NetworkPlan, at_least_one
from ddcore.networks.layers import Activation, ActivationName, Flatten, Linear, chain
from ddcore.networks.structure import Structure
from ddcore.types import DataCard


@dataclass(frozen=True)
class MLP(NetworkPlan):
    """``depth`` linear layers in all, the hidden ones of ``width``."""

    width: int = 128
    depth: int = 3
    activation: ActivationName = "relu"

    def __post_init__(self) -> None:
        at_least_one(self, width=self.width, depth=self.depth)

    def build(self, card: DataCard) -> Structure:
        sizes = [math.prod(card.shape)] + [self.width] * (self.depth - 1)
        hidden = [layer for a, b in pairwise(sizes) for layer in (Linear(a, b), Activation(self.activation))]
        return Structure(chain(Flatten(), *hidden), Linear(sizes[-1], card.classes))
