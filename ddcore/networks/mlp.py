"""MLP: fully connected layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ddcore.bounds import Count, Layers
from ddcore.networks.base import NetworkPlan
from ddcore.networks.layers import Activation, ActivationName, Flatten, Linear, chain
from ddcore.networks.structure import Structure
from ddcore.types import DataCard


@dataclass(frozen=True)
class MLP(NetworkPlan):
    """Fully connected layers."""

    width: Count = 128
    """Units of each hidden layer."""
    depth: Layers = 3
    """Linear layers in all."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""

    def build(self, card: DataCard) -> Structure:
        sizes = [math.prod(card.shape)] + [self.width] * (self.depth - 1)
        hidden = [layer for a, b in pairwise(sizes) for layer in (Linear(a, b), Activation(self.activation))]
        return Structure(chain(Flatten(), *hidden), Linear(sizes[-1], card.outputs))
