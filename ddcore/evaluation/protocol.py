"""A protocol: how fresh networks are trained on a set, and what is measured of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from ddcore.augment.affine import Affine
from ddcore.augment.base import Augment
from ddcore.catalogue import Catalogue
from ddcore.composition import check_suits
from ddcore.data import RealData
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.evaluation.measures import Accuracy, Measure
from ddcore.evaluation.protocols import PRESETS
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.parts import Part


@dataclass(frozen=True)
class Protocol(Part, kind="protocol"):
    """How fresh nets are trained on a set, and what is measured of them on the test split.

    ``steps`` or ``epochs`` says how long. With more than one ``lr``, each is tried and the one with the best mean
    accuracy on the validation split of T is reported: nothing is ever chosen on the test split.

    ``schedule``: ``cosine`` to zero; ``half``: a tenth of the rate, with a new optimiser, from half way on; ``thirds``:
    a fifth from two thirds on, and a fifth of that from five sixths on; ``warm``: from zero up to half way, then
    ``cosine``.
    """

    steps: int | None = 250
    epochs: int | None = None
    batch: int = 64
    optimiser: Literal["sgd", "adam", "adamw"] = "adam"
    lr: tuple[float, ...] = (2e-3,)
    learned_lr: bool = False
    """A set that brings a learned step size is trained with that instead of ``lr``."""
    replay: bool = False
    """A set that brings an order is trained on in that order, once, at the step sizes and momentum that it brings."""
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "half", "thirds", "warm"] = "cosine"
    augment: Augment | None = Affine()
    cutmix: float = 0.0
    """Probability that a batch is mixed, box by box, with its labels."""
    temperature: float | None = None
    """A set that brings a teacher, or what one says of views of its items, is learned from that instead of its targets:
    by the divergence of softmax(logits / temperature) from the teacher's. None for the targets."""
    repeats: int = 5
    networks: tuple[NetworkPlan, ...] = (ConvNet(),)
    measures: tuple[Measure, ...] = (Accuracy(),)

    image_fields = MappingProxyType({"cutmix": 0.0})

    def faults(self) -> Iterator[str]:
        if (self.steps is None) == (self.epochs is None):
            yield ("A protocol says either steps or epochs, not both and not neither.")
        if min(self.steps or self.epochs or 0, self.repeats, self.batch, len(self.lr), len(self.networks)) < 1:
            yield ("A protocol needs at least one step, item, repeat, learning rate and network.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            yield (f"A protocol's temperature is above zero and finite, not {self.temperature}.")

    @classmethod
    def named(cls, name: str) -> Self:
        """The preset of that name; :data:`TOLD` says what each is.

        Raises:
            UnknownName: no such preset.
        """
        if name not in PRESETS:
            raise UnknownName("protocol", name, PRESETS)
        return cls(**PRESETS[name])

    def check(self, data: RealData, catalogue: Catalogue | None = None) -> None:  # type: ignore[override]
        """Refuse what cannot be evaluated on ``data``, before any work.

        ``catalogue`` lets a refusal name the parts that would suit.

        Raises:
            RecipeRefused: several learning rates to choose from and no validation split to choose on, a part that does
                not suit the items, or a network that they are too small for.
        """
        check_suits(self, data.card, catalogue or Catalogue())
        if len(self.lr) > 1 and data.validation is None:
            raise RecipeRefused(
                f"The protocol tries {len(self.lr)} learning rates, which wants a validation split of T to choose on:"
                " ask for one (--validation 0.1, or data.with_validation(0.1, seed=0)), or give one rate."
            )
        for plan in self.networks:
            plan.fitted(data.card).build(data.card)

    def length(self, items: int) -> int:
        """Training steps on a set of ``items``."""
        return self.steps if self.steps is not None else (self.epochs or 0) * math.ceil(items / self.batch)

    def build_optimiser(self, params: Sequence[Tensor], lr: float) -> Optimizer:
        if self.optimiser != "sgd":
            adam = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
            return adam(params, lr=lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(params, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay)
