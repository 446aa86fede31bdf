"""Evaluation: fresh networks are trained on a set and measured on real items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

import torch

from ddcore.artefact import DistilledSet
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.evaluation.diverged import measured
from ddcore.evaluation.measures import Measure
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training import Attack, fresh_nets
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.naming import labels
from ddcore.preprocess import Fitted
from ddcore.types import Draw, Progress

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
) -> Scores:
    """Train ``protocol.repeats`` fresh nets of each network on ``training``; measure them on a ``split`` of ``data``.

    ``teacher_targets``: what ``training`` provides as a teacher, for protocols with a temperature. ``distilled``: the
    set that the measures may look at. ``attack``: as :func:`ddcore.evaluation.training.train` has it.

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
    for network, plan in zip(labels(protocol.networks), protocol.networks, strict=True):
        given = (torch.device(device), progress, teacher_targets, attack)
        trained = [
            (lr, list(fresh_nets(plan, training, data.card, protocol, lr, seed, *given)))
            for lr in (protocol.lr if own is None else (float(own.mean()),))
        ]
        chosen = measures[protocol.choosing]
        lr, nets = max(trained, key=lambda found: _worth(chosen, found[1], held)) if held else trained[0]
        measuring = Preprocessed(store, preprocess)
        for name, measure in measures.items():
            values = tuple(v for draw, chunk in nets for v in measured(measure, draw, measuring, chunk))
            scores[name][network] = Score(values, lr)
    return scores


def _worth(measure: Measure, nets: list[tuple[Draw, int]], held: Preprocessed) -> tuple[int, float]:
    """How good nets are: first by how few of them diverged, then by their mean on validation."""
    found = Score(tuple(v for draw, chunk in nets for v in measured(measure, draw, held, chunk)), 0.0)
    mean = found.mean if found.finite else 0.0
    return -found.diverged, mean if measure.higher_is_better else -mean
