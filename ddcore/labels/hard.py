"""Each item has its own class, fixed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ddcore.labels.base import Labels
from ddcore.labels.stored import class_bytes
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard


@dataclass(frozen=True)
class Hard(Labels):
    """Each item's own class, fixed."""

    def build(self, card: DataCard, carrier: CarrierModule) -> HardLabels:
        return HardLabels(carrier)


class HardLabels(LabelModule):
    targets: Tensor

    def __init__(self, carrier: CarrierModule) -> None:
        super().__init__()
        self.register_buffer("targets", carrier.classes.clone())
        self.stored = class_bytes(carrier)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.targets[index]

    def nbytes(self) -> int:
        return self.stored
