"""Labels of the synthetic set."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.gate import cross_entropy
from ddcore.parts import Part
from ddcore.synthetic import LabelModule
from ddcore.types import ItemLoss


class Labels(Part, kind="labels"):
    """What the targets of S are."""

    @abstractmethod
    def build(self, classes: Tensor) -> LabelModule:
        """Labels for items whose classes are ``classes`` (n,)."""


@dataclass(frozen=True)
class Hard(Labels):
    """Each item's own class, fixed."""

    def build(self, classes: Tensor) -> HardLabels:
        return HardLabels(classes)


class HardLabels(LabelModule):
    targets: Tensor

    def __init__(self, classes: Tensor) -> None:
        super().__init__()
        self.register_buffer("targets", classes.clone())

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.targets[index]

    @property
    def loss(self) -> ItemLoss:
        return cross_entropy

    def nbytes(self) -> int:
        """One byte an item up to 256 classes, else two."""
        return len(self.targets) * (1 if int(self.targets.max()) < 256 else torch.int16.itemsize)
