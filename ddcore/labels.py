"""Labels of the synthetic set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcore.gate import Context, Fit, cross_entropy
from ddcore.memory import cut
from ddcore.parts import Part
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard, Draw, ItemLoss, Params


class Labels(Part, kind="labels"):
    """What the targets of S are."""

    @abstractmethod
    def build(self, card: DataCard, carrier: CarrierModule) -> LabelModule:
        """Labels for the items of ``carrier``."""


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
        self.stored = len(carrier.origin.unique())

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.targets[index]

    @property
    def loss(self) -> ItemLoss:
        return cross_entropy

    def nbytes(self) -> int:
        """One byte a stored thing up to 256 classes, else two: what is made of one has its class."""
        return self.stored * (1 if int(self.targets.max()) < 256 else torch.int16.itemsize)


class Shares(LabelModule):
    """Targets that are shares of the classes (n, k), met by the cross-entropy - sum_k y_k log p_k."""

    @property
    def loss(self) -> ItemLoss:
        return cross_entropy


@dataclass(frozen=True)
class Soft(Labels):
    """Learned shares: the softmax of free logits (n, k).

    They start as a network says that was trained on T as ``fit`` says, or without one all alike.
    Reference: Guo et al., DATM, ICLR 2024, Section 3.3.
    """

    fit: Fit | None = Fit()

    def build(self, card: DataCard, carrier: CarrierModule) -> SoftLabels:
        return SoftLabels(self, card, len(carrier.classes))


class SoftLabels(Shares):
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


@dataclass(frozen=True)
class Expert(Labels):
    """Shares that the trained network of each step gives to the images as they are then; the last ones are kept.

    The network is the one where the step's training led (``Draw.target``), at ``temperature``.
    Reference: Cui et al., TESLA, ICML 2023, Section 3.4.
    """

    temperature: float = 1.0

    def build(self, card: DataCard, carrier: CarrierModule) -> ExpertLabels:
        return ExpertLabels(self, card, len(carrier.classes))


class ExpertLabels(Shares):
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


def answers(draw: Draw, params: Params, inputs: Tensor, chunk: int) -> Tensor:
    """The network's logits (n, k) at ``params``, ``chunk`` items at a time; with batch statistics where it has them."""
    training = not draw.network.per_sample
    return torch.cat([draw(inputs[part], params, training=training) for part in cut(len(inputs), chunk)])
