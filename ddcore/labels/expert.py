"""Shares that the trained network of each step gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.bounds import Positive
from ddcore.labels.base import Labels
from ddcore.labels.stored import answers
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard, Draw


@dataclass(frozen=True)
class Expert(Labels):
    """Shares that the trained network of each step gives to the images as they are then; the last ones are kept.

    That network is the one that the step's training led to (``Draw.target``).

    **Reference**: Cui et al., TESLA, ICML 2023, Section 3.4.
    """

    classes_only = True

    temperature: Positive = 1.0
    """Temperature of the network's softmax."""

    def build(self, card: DataCard, carrier: CarrierModule) -> ExpertLabels:
        return ExpertLabels(self, card, len(carrier.classes))


class ExpertLabels(LabelModule):
    shares: Tensor

    def __init__(self, plan: Expert, card: DataCard, n: int) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("shares", torch.full((n, card.classes), 1 / card.classes))

    def follow(self, draw: Draw, inputs: Callable[[], Tensor]) -> None:
        params = draw.params if draw.target is None else draw.target
        with torch.no_grad():
            logits = answers(draw, params, inputs(), len(self.shares))
        self.shares = (logits / self.plan.temperature).softmax(1)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.shares[index]

    def nbytes(self) -> int:
        return self.shares.nbytes
