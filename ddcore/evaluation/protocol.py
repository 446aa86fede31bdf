"""A protocol: how fresh networks are trained on a set, and what is measured of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated

from annotated_types import MinLen

from ddcore.augment.affine import Affine
from ddcore.augment.base import Augment
from ddcore.bounds import Count, Positive, Share
from ddcore.catalogue import Catalogue
from ddcore.composition import check_suits
from ddcore.data import RealData
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.estimators import Estimator
from ddcore.evaluation.measures import Measure
from ddcore.naming import labels
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.optimisers import Adam, Optimiser
from ddcore.parts import Part
from ddcore.schedules import Cosine, Schedule

STEPS, ENOUGH, MOST, PASSES = 250, 200, 1000, 3
"""Where nothing is said: steps of a set of so many items, the most that a larger one gets, and its least passes."""


@dataclass(frozen=True)
class Protocol(Part, kind="protocol"):
    """How fresh nets are trained on a set, and what is measured of them.

    ``steps`` or ``epochs`` says how long. With more than one ``lr``, each is tried, and the one is reported whose nets
    are best by ``chosen_by`` on the validation split of T: nothing is ever chosen on the test split.

    **Reference**: ``hard``, Cui et al., HALD, 2025.
    """

    steps: Count | None = None
    """Training steps. Where neither steps nor epochs are given, as many as suit the set: 250 up to 200 items, in
    proportion beyond, 1 000 at most, but no fewer than three passes."""
    epochs: Count | None = None
    """Passes over the set, in the place of ``steps``."""
    batch: Count = 64
    """Items of a training step."""
    optimiser: Optimiser = Adam()
    """What follows the gradients."""
    lr: Annotated[tuple[Positive, ...], MinLen(1)] = (2e-3,)
    """The learning rate, or those to choose from."""
    learned_lr: bool = False
    """A set that brings a learned step size is trained with that instead of ``lr``."""
    replay: bool = False
    """A set that brings an order is trained on in that order, once, at the step sizes and momentum that it brings."""
    schedule: Schedule = Cosine()
    """How the learning rate changes over the training."""
    augment: Augment | None = Affine()
    """Drawn anew for each item of each batch."""
    cutmix: Share = 0.0
    """Probability that a batch is mixed, box by box, with its labels."""
    temperature: Positive | None = None
    """A set that brings a teacher, or what one says of views of its items, is learned from that instead of its targets:
    by the divergence of softmax(logits / temperature) from the teacher's. None for the targets."""
    hard: Share = 0.0
    """Share of the steps, in the middle of the training, that learn classes in the place of what a teacher says: of
    items under ``augment``, each of the class that its target gives most. Published: 0.5."""
    repeats: Count = 5
    """Fresh nets of each network."""
    networks: Annotated[tuple[NetworkPlan, ...], MinLen(1)] = (ConvNet(),)
    """What is trained."""
    estimators: tuple[Estimator, ...] = ()
    """What is fitted to the set beside them, once per repeat."""
    measures: Annotated[tuple[Measure, ...], MinLen(1)] = (Accuracy(),)
    """What is measured of the trained nets."""
    chosen_by: str | None = None
    """The measure, by its name in the report, that chooses among learning rates and comes first; None for the first."""

    image_fields = MappingProxyType({"cutmix": 0.0})

    def faults(self) -> Iterator[str]:
        if self.steps is not None and self.epochs is not None:
            yield f"steps = {self.steps} and epochs = {self.epochs}: give one of them, and none for the other"
        if self.hard and self.temperature is None:
            yield f"hard = {self.hard} is a share of what is learned from a teacher: give temperature with it"
        for name, parts in (("networks", self.learners), ("measures", self.measures)):
            if len(set(labels(parts))) < len(parts):
                yield f"{name} holds the same one twice: {', '.join(labels(parts))}"
        if self.chosen_by is not None and self.chosen_by not in labels(self.measures):
            yield f"chosen_by: {UnknownName('measure of the protocol', self.chosen_by, labels(self.measures))}"

    @property
    def learners(self) -> tuple[NetworkPlan | Estimator, ...]:
        """All that learns from the set: networks, and then estimators."""
        return *self.networks, *self.estimators

    def without_teacher(self) -> Protocol:
        """The same, by which a set is learned from its targets, whatever teacher it brings."""
        return replace(self, temperature=None, hard=0.0)

    @property
    def choosing(self) -> str:
        """The name of the measure that chooses and comes first."""
        return self.chosen_by or labels(self.measures)[0]

    def check(self, data: RealData, catalogue: Catalogue | None = None) -> None:  # type: ignore[override]
        """Refuse what cannot be evaluated on ``data``, before any work.

        ``catalogue`` lets a refusal name the parts that would suit.

        Raises:
            RecipeRefused: several learning rates and no validation split to choose on; a part that does not suit the
                kind of the items; a network that the items are too small for, or that lacks what a part needs.
        """
        check_suits(self, data.card, catalogue or Catalogue())
        if len(self.lr) > 1 and data.validation is None:
            raise RecipeRefused(
                f"The protocol tries {len(self.lr)} learning rates, which wants a validation split of T to choose on:"
                " ask for one (--validation 0.1, or data.with_validation(0.1, seed=0)), or give one rate."
            )
        for plan in self.networks:
            network = plan.ready(data.card)
            for where, part in self.within():
                if lacking := sorted(part.needs - network.gives):
                    raise RecipeRefused(
                        f"protocol.{where} = {part.part_name()} needs {', '.join(lacking)}, which the network"
                        f" {plan.part_name()} does not give. Take another network, or leave it out."
                    )
                if isinstance(part, Measure):
                    part.check(self, data.card, network)

    def length(self, items: int) -> int:
        """Training steps on a set of ``items``."""
        batches = math.ceil(items / self.batch)
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return self.epochs * batches
        return STEPS if items <= ENOUGH else max(min(math.ceil(STEPS * items / ENOUGH), MOST), PASSES * batches)
