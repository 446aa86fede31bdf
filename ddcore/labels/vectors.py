"""A free real vector per item."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddcore.bounds import Positive
from ddcore.errors import RecipeRefused
from ddcore.labels.base import Labels
from ddcore.labels.stored import check_values, class_bytes
from ddcore.losses import LossName
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard, Network


@dataclass(frozen=True)
class Vectors(Labels):
    """A free real vector (k,) per item, which starts as ``scale`` times its class one-hot; or, of values, as those
    which the item began with."""

    scale: Positive = 1.0
    """Value of the one in the one-hot vector."""
    centred: bool = False
    """Subtract 1/k from the one-hot vector before it is scaled, so that it sums to zero; for a squared loss."""
    learned: bool = True
    """Whether the vectors are learned; fixed ones follow from the class and are stored as it."""
    loss: LossName = "cross_entropy"
    """What networks are trained with on targets y: ``cross_entropy`` is - sum_k y_k log softmax(f)_k, ``squared`` is
    sum_k (f_k - y_k)^2 / 2."""
    temperature: Positive | None = None
    """First value of a factor that turns predictions of these targets into logits for T's classes. Its logarithm is
    learned with the vectors, at a rate of its own (``update.lr.temperature``); training on S does not need it."""

    def faults(self) -> Iterator[str]:
        if self.centred and self.loss == "cross_entropy":
            yield (
                "centred targets sum to zero, which no cross-entropy can meet: take labels.loss ="
                ' "squared", or labels.centred = false'
            )

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        if card.values is not None and (self.loss != "squared" or self.temperature is not None):
            raise RecipeRefused(
                f"The targets of {card.name} are values, which are learned by the squared error: set labels.loss ="
                ' "squared" and no labels.temperature.'
            )

    def build(self, card: DataCard, carrier: CarrierModule) -> VectorLabels:
        check_values(card, carrier)
        return VectorLabels(self, card, carrier)


class VectorLabels(LabelModule):
    vectors: Tensor

    def __init__(self, plan: Vectors, card: DataCard, carrier: CarrierModule) -> None:
        super().__init__()
        self.plan = plan
        self.loss_name = plan.loss
        vectors = self.encoded(carrier.classes, card.classes) if carrier.values is None else carrier.values.clone()
        if plan.learned:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.stored = class_bytes(carrier) if carrier.values is None and not plan.learned else vectors.nbytes
        start = plan.temperature
        self.log_temperature = None if start is None else nn.Parameter(torch.tensor(math.log(start)))

    def begin(self, values: Tensor) -> None:
        with torch.no_grad():
            self.vectors.copy_(values)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.vectors[index]

    def encoded(self, classes: Tensor, k: int) -> Tensor:
        if classes.ndim == 2:
            return classes
        return self.plan.scale * (super().encoded(classes, k) - (1 / k if self.plan.centred else 0))

    @property
    def temperature(self) -> Tensor | None:
        return None if self.log_temperature is None else self.log_temperature.exp()

    def groups(self) -> dict[str, list[nn.Parameter]]:
        vectors = [self.vectors] if isinstance(self.vectors, nn.Parameter) else []
        temperature = [] if self.log_temperature is None else [self.log_temperature]
        return {"labels": vectors, "temperature": temperature}

    def nbytes(self) -> int:
        return self.stored
