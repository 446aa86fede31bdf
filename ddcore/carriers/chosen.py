"""Real images, chosen and never changed: the baselines of every comparison."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.carriers.base import Carrier, classes_in_order, herd
from ddcore.gate import Context, Fit
from ddcore.memory import cut, items_a_chunk
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard, Draw, Group


@dataclass(frozen=True)
class Chosen(Carrier):
    """``ipc`` real images per class."""

    @property
    def asks(self) -> frozenset[str]:
        return super().asks | {"examples"}

    def build(self, card: DataCard) -> ChosenModule:
        return ChosenModule(self, card)

    @abstractmethod
    def choose(self, c: int, ctx: Context, draw: Draw | None) -> Tensor:
        """The chosen images (ipc, ...) of class ``c``."""

    def prepare(self, ctx: Context) -> Draw | None:
        """A network to choose by, where one is needed."""
        return None


@dataclass(frozen=True)
class Random(Chosen):
    """Uniformly, without replacement."""

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> Tensor:
        (batch,) = ctx.gate.examples([Group(classes=(c,), size=self.ipc)])
        return batch.inputs


@dataclass(frozen=True)
class Herding(Chosen):
    """Greedily: each image is the one that brings the mean feature of the chosen nearest to the class mean.

    Features are those of one network trained on T as ``fit`` says.
    """

    fit: Fit = Fit()

    def prepare(self, ctx: Context) -> Draw:
        draw = ctx.fresh()
        *_, params = ctx.gate.fit(draw, self.fit)
        return Draw(draw.network, params, draw.buffers, age=self.fit.length(sum(ctx.card.counts)))

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> Tensor:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        size = items_a_chunk(draw, ctx.card.shape)
        with torch.no_grad():
            parts = [draw(batch.inputs[part], features=True, training=False) for part in cut(len(batch), size)]
        features = torch.cat(parts)
        return batch.inputs[herd(features, features.mean(0), self.ipc)]


class ChosenModule(CarrierModule):
    images: Tensor

    def __init__(self, plan: Chosen, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("classes", classes_in_order(card, plan.ipc))
        self.register_buffer("images", torch.zeros(card.classes * plan.ipc, *card.shape))

    def start(self, ctx: Context) -> None:
        draw = self.plan.prepare(ctx)
        for c in range(ctx.card.classes):
            self.images[self.classes == c] = self.plan.choose(c, ctx, draw)

    def forward(self, index: Tensor) -> Tensor:
        return self.images[index]

    def nbytes(self) -> int:
        return self.images.numel() * self.images.element_size()
