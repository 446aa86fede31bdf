"""Trajectory matching: where training on S leads against where training on T led."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.context import Context
from ddcore.objectives.base import Objective
from ddcore.objectives.student import Student, shuffled
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params
from ddcore.unroll import UnrollMemory


@dataclass(frozen=True)
class TrajectoryMatch(Objective):
    """L = || w_n(S) - w*_{t+M} ||^2 / || w*_t - w*_{t+M} ||^2.

    The student starts where the expert was (``draw.params``, w*_t) and trains ``steps`` steps of SGD on batches of
    ``batch`` items of S (None: all), at the step size that S learns, each batch under its own draw of the recipe's
    augmentation, an item its own. w*_{t+M} is ``draw.target``. S's inputs, its labels where they are learned, and
    the step size get gradients.

    ``memory``: ``full``, ``exact`` (the same derivative at flat memory) or ``tesla`` (not the exact one); see
    :data:`ddcore.unroll.UnrollMemory`. Where ``threshold`` is given, a loss above it moves nothing.

    Reference: Cazenavette et al., CVPR 2022, Eq. 2; the threshold Guo et al., ICLR 2024, from the authors' code.
    """

    steps: int = 20
    batch: int | None = None
    memory: UnrollMemory = "exact"
    threshold: float | None = None

    def faults(self) -> Iterator[str]:
        if self.steps < 1 or (self.batch is not None and self.batch < 1):
            yield (f"objective: steps = {self.steps} and batch = {self.batch} must be at least 1.")

    @property
    def step_sizes(self) -> int:
        return 1

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"target"}

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        assert draw.target is not None and synthetic.step_size is not None
        student = Student(draw, synthetic, shuffled(len(synthetic), self.batch, self.steps, ctx.rng["batches"]), ctx)
        way = student.trained(synthetic.step_size, 0.0, self.memory)
        gap = {name: value - draw.target[name] for name, value in way.end.items()}
        scale = _squared({name: value - draw.target[name] for name, value in draw.params.items()})
        value = float(_squared(gap) / scale)
        if self.threshold is None or value <= self.threshold:
            way.backward({name: 2 * g / scale for name, g in gap.items()})
            student.backward_to_parameters()
        yield value


def _squared(params: Params) -> Tensor:
    return torch.stack([value.square().sum() for value in params.values()]).sum()
