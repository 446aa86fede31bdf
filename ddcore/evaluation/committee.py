"""Networks that predict values together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Generator, Tensor

from ddcore.bounds import Count
from ddcore.evaluation.estimators import Estimator
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import TrainingSet
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.types import Call, DataCard, Draw, Network, Params


@dataclass(frozen=True)
class Committee(Estimator):
    """Networks that differ by their start and their batches: their mean predicts, their deviation is the error bar."""

    network: NetworkPlan = field(default_factory=ConvNet)
    """What is trained."""
    members: Annotated[int, Ge(2)] = 5
    """Networks of a committee."""
    steps: Count = 250
    """Training steps of each."""

    values_only = True

    def fitted_to(self, training: TrainingSet, card: DataCard, nets: Sequence[int], seed: int) -> Draw:
        protocol = Protocol(steps=self.steps, augment=None)
        numbers = [net * self.members + member for net in nets for member in range(self.members)]
        (lr,), device = protocol.lr, torch.device("cpu")
        draw = train(self.network.ready(card), training, card, protocol, lr, numbers, seed, device)
        return Draw(Voices(draw, self.members), {"nets": torch.zeros(len(nets))}, {}, ensemble=len(nets))


@dataclass(frozen=True, eq=False)
class Voices(Network):
    """Committees as an ensemble: outputs (e, n, 2 v) are the mean and then the deviation of each one's ``members``."""

    draw: Draw
    members: int

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[Params, Params]:
        raise NotImplementedError("A committee is fitted, and has no start.")

    def apply(self, call: Call, x: Tensor) -> Tensor:
        each = self.draw(x.repeat_interleave(self.members, 0), training=False).unflatten(0, (-1, self.members))
        return torch.cat([each.mean(1), each.std(1)], 2)
