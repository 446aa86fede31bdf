"""Evaluation: fresh networks are trained on a small set and tested on the real one."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from ddcore.data import RealData
from ddcore.evaluation.measures import Accuracy
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training import fresh_nets
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.preprocess import Fitted
from ddcore.types import Progress


@dataclass(frozen=True)
class Score:
    """One measure over fresh nets; ``std`` is the sample deviation over nets."""

    values: tuple[float, ...]
    lr: float
    """The learning rate the nets were trained with."""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def std(self) -> float:
        return stdev(self.values) if len(self.values) > 1 else 0.0


Scores = dict[str, dict[str, Score]]
"""Score by measure and network name."""


def evaluate(
    training: TrainingSet,
    data: RealData,
    preprocess: Fitted,
    protocol: Protocol,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    teacher_targets: TeacherTargets | None = None,
) -> Scores:
    """Train ``protocol.repeats`` fresh nets of each network on ``training`` and measure them on ``data.test``.

    ``teacher_targets``: what ``training`` brings to be taught by, for protocols with a temperature.

    Raises:
        RecipeRefused: as :meth:`Protocol.check` says.
    """
    protocol.check(data)
    scores: Scores = {type(measure).part_name(): {} for measure in protocol.measures}
    for plan in protocol.networks:
        trained = []
        own = training.step_sizes if protocol.learned_lr or (protocol.replay and training.order is not None) else None
        for lr in protocol.lr if own is None else (float(own.mean()),):
            nets = list(
                fresh_nets(
                    plan, training, data.card, protocol, lr, seed, torch.device(device), progress, teacher_targets
                )
            )
            held = Preprocessed(data.validation, preprocess) if data.validation and len(protocol.lr) > 1 else None
            chosen_by = fmean(v for d, chunk in nets for v in Accuracy()(d, held, chunk).tolist()) if held else 0.0
            trained.append((chosen_by, lr, nets))
        _, lr, nets = max(trained, key=lambda found: found[0])
        test = Preprocessed(data.test, preprocess)
        for measure in protocol.measures:
            values = tuple(v for draw, chunk in nets for v in measure(draw, test, chunk).tolist())
            scores[type(measure).part_name()][plan.part_name()] = Score(values, lr)
    return scores
