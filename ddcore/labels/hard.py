"""Each item has its own class, fixed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ddcore.labels.base import Labels
from ddcore.labels.stored import check_values, class_bytes
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard


@dataclass(frozen=True)
class Hard(Labels):
    """Each item's own class, fixed; or, of values, that which the item began with."""

    def build(self, card: DataCard, carrier: CarrierModule) -> HardLabels:
        check_values(card, carrier)
        return HardLabels(carrier)


class HardLabels(LabelModule):
    targets: Tensor

    def __init__(self, carrier: CarrierModule) -> None:
        super().__init__()
        self.loss_name = "cross_entropy" if carrier.values is None else "squared"
        self.register_buffer("targets", (carrier.classes if carrier.values is None else carrier.values).clone())
        self.stored = class_bytes(carrier) if carrier.values is None else carrier.values.nbytes

    def begin(self, values: Tensor) -> None:
        self.targets.copy_(values)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.targets[index]

    def nbytes(self) -> int:
        return self.stored
