"""Evaluation: fresh networks are trained on a set and measured on real items."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from statistics import fmean, stdev
from typing import Any, Literal

import torch

from ddcore.artefact import DistilledSet
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.evaluation.diverged import measured
from ddcore.evaluation.estimators import Estimator
from ddcore.evaluation.kept import Kept
from ddcore.evaluation.measures import Measure
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training import Attack, FreshNets, to_train
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.naming import labels
from ddcore.networks.base import NetworkPlan
from ddcore.packing import to_dict
from ddcore.preprocess import Fitted
from ddcore.types import Progress

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class Score:
    """One measure over fresh nets; ``mean`` and ``std`` (of the sample) are over those that did not diverge."""

    values: tuple[float, ...]
    """One per net; NaN for a net that diverged."""
    lr: float
    """The learning rate the nets were trained with."""

    @property
    def finite(self) -> tuple[float, ...]:
        return tuple(value for value in self.values if math.isfinite(value))

    @property
    def diverged(self) -> int:
        """Nets whose parameters or outputs are not finite."""
        return len(self.values) - len(self.finite)

    @property
    def mean(self) -> float:
        return fmean(self.finite) if self.finite else math.nan

    @property
    def std(self) -> float:
        return stdev(self.finite) if len(self.finite) > 1 else 0.0 if self.finite else math.nan

    def plain(self) -> dict[str, Any]:
        """For JSON, which has no NaN: null in its place."""
        values = {"mean": self.mean, "std": self.std}
        said = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return {**said, "values": [v if math.isfinite(v) else None for v in self.values], "lr": self.lr}


Scores = dict[str, dict[str, Score]]
"""Scores by measure and by network, each by its name, or by what tells it apart (:func:`ddcore.naming.labels`)."""


def evaluate(
    training: TrainingSet,
    data: RealData,
    preprocess: Fitted,
    protocol: Protocol,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    teacher_targets: TeacherTargets | None = None,
    *,
    distilled: DistilledSet | None = None,
    split: Split = "test",
    attack: Attack | None = None,
    kept: Kept = Kept(None),
) -> Scores:
    """Train ``protocol.repeats`` fresh nets of each network on ``training``; measure them on a ``split`` of ``data``.

    ``teacher_targets``: what ``training`` provides as a teacher, for protocols with a temperature. ``distilled``: the
    set that the measures may look at. ``attack``: as :func:`ddcore.evaluation.training.train` has it. ``kept``: values
    of earlier evaluations, which follow from this ``training`` and ``preprocess``; nets are trained for the others.

    Raises:
        RecipeRefused: as :meth:`Protocol.check` says, or there is no such split.
    """
    protocol.check(data)
    store = data.test if split == "test" else data.validation
    if store is None:
        raise RecipeRefused(f"{data.card.name} has no validation split: ask for one with data.with_validation(0.1, 0).")
    names = labels(protocol.measures)
    measures = dict(
        zip(names, (measure.of(distilled) if distilled else measure for measure in protocol.measures), strict=True)
    )
    scores: Scores = {name: {} for name in names}
    own = training.step_sizes if protocol.learned_lr or (protocol.replay and training.order is not None) else None
    held = Preprocessed(data.validation, preprocess) if data.validation and len(protocol.lr) > 1 else None
    for network, plan in zip(labels(protocol.learners), protocol.learners, strict=True):
        given = (torch.device(device), progress, teacher_targets, attack)
        rates = protocol.lr if own is None else (float(own.mean()),)
        if isinstance(plan, Estimator):
            rates = rates[:1]
        known = kept.also(**_followed(plan, data, protocol, seed, device))
        fresh = [
            _Fresh(lr, list(_learning(plan, training, data, protocol, lr, seed, *given)), known.also(lr=lr))
            for lr in rates
        ]
        chosen = measures[protocol.choosing]
        best = max(fresh, key=lambda nets: nets.worth(chosen, held)) if held else fresh[0]
        for name, measure in measures.items():
            scores[name][network] = best.score(measure, Preprocessed(store, preprocess))
    return scores


def _learning(
    plan: NetworkPlan | Estimator,
    training: TrainingSet,
    data: RealData,
    protocol: Protocol,
    lr: float,
    seed: int,
    *given: Any,
) -> Iterator[FreshNets]:
    """What ``plan`` becomes on ``training``: nets that are trained side by side, or estimators that are fitted."""
    if isinstance(plan, Estimator):
        nets = range(protocol.repeats)
        return iter([FreshNets(nets, sys.maxsize, partial(plan.fitted_to, training, data.card, nets, seed))])
    return to_train(plan, training, data.card, protocol, lr, seed, *given)


@dataclass(frozen=True)
class _Fresh:
    """All the fresh nets of one network at one learning rate; none is trained whose values had been kept."""

    lr: float
    nets: list[FreshNets]
    kept: Kept

    def score(self, measure: Measure, items: Preprocessed) -> Score:
        def asked() -> dict[str, Any]:
            return {"measure": [measure.part_name(), to_dict(measure)], "items": items.content}

        each = (
            self.kept.values(nets.numbers, asked, lambda nets=nets: measured(measure, nets.draw, items, nets.chunk))
            for nets in self.nets
        )
        return Score(tuple(chain.from_iterable(each)), self.lr)

    def worth(self, measure: Measure, held: Preprocessed) -> tuple[int, float]:
        """How good they are: first by how few of them diverged, then by their mean on validation."""
        found = self.score(measure, held)
        mean = found.mean if found.finite else 0.0
        return -found.diverged, mean if measure.higher_is_better else -mean


def _followed(
    plan: NetworkPlan | Estimator, data: RealData, protocol: Protocol, seed: int, device: str | torch.device
) -> dict[str, Any]:
    """What the values of a fresh net follow from beside its training set, its number and its learning rate."""
    alone = to_dict(protocol)
    for several in ("measures", "networks", "estimators", "lr", "repeats", "chosen_by"):
        alone.pop(several, None)
    network = [plan.part_name(), to_dict(plan)]
    return {"network": network, "card": asdict(data.card), "protocol": alone, "seed": seed, "device": str(device)}
