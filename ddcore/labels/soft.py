"""Learned shares of the classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.labels.base import Labels
from ddcore.labels.stored import answers
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard


@dataclass(frozen=True)
class Soft(Labels):
    """Learned shares: the softmax of free logits (n, k).

    **Reference**: Guo et al., DATM, ICLR 2024, Section 3.3.
    """

    classes_only = True

    fit: Fit | None = Fit()
    """How the network is trained on T whose logits they start from; None to start with equal shares."""

    def build(self, card: DataCard, carrier: CarrierModule) -> SoftLabels:
        return SoftLabels(self, card, len(carrier.classes))


class SoftLabels(LabelModule):
    def __init__(self, plan: Soft, card: DataCard, n: int) -> None:
        super().__init__()
        self.plan = plan
        self.logits = nn.Parameter(torch.zeros(n, card.classes))

    def start(self, ctx: Context, inputs: Tensor) -> None:
        if self.plan.fit is None:
            return
        draw = ctx.fresh()
        *_, params = ctx.gate.fit(draw, self.plan.fit, "training the teacher", ctx.progress)
        with torch.no_grad():
            self.logits.copy_(answers(draw, params, inputs, ctx.room))

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.logits[index].softmax(1)

    def nbytes(self) -> int:
        return self.logits.nbytes
