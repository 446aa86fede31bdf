"""A network that is an ordinary module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcore import plugin as dd


class Layers(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(inputs, width), nn.Linear(width, outputs)

    def features(self, x: Tensor) -> Tensor:
        """What ``head`` takes: the flat input (n, d) of the last layer."""
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class OneHidden(dd.NetworkPlan):
    """One hidden layer, for items of any shape."""

    width: dd.Count = 64
    """Units of the hidden layer."""

    def build(self, card: dd.DataCard) -> dd.Network:
        inputs = torch.Size(card.shape).numel()
        return dd.ModuleNetwork(lambda: Layers(inputs, self.width, card.outputs))
