"""Trajectory matching: where training on S leads against where training on T led."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.bounds import Count, Decay, Positive
from ddcore.context import Context
from ddcore.objectives.base import Objective
from ddcore.objectives.student import Student, shuffled
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params
from ddcore.unroll import UnrollMemory


@dataclass(frozen=True)
class TrajectoryMatch(Objective):
    """L = || w_n(S) - w*_{t+M} ||^2 / || w*_t - w*_{t+M} ||^2.

    The student starts where the expert was (``draw.params``, w*_t) and takes n steps of SGD on S at the step size that
    S learns, each batch under its own draw of the recipe's augmentation, drawn separately for each item. w*_{t+M} is
    ``draw.target``. S's inputs, its labels where they are learned, and the step size get gradients.

    **References**: Cazenavette et al., CVPR 2022, Eq. 2; ``threshold``, Guo et al., ICLR 2024, from the authors' code;
    ``shallow``, Li et al., PAD, 2024, from the authors' code.
    """

    steps: Count = 20
    """Steps of the student, n."""
    batch: Count | None = None
    """Items of S per step, None for all."""
    memory: UnrollMemory = "exact"
    """``full``, ``exact`` (the same derivative at flat memory) or ``tesla`` (not the exact one); see
    :data:`ddcore.unroll.UnrollMemory`."""
    threshold: Positive | None = None
    """Loss above which a step moves nothing; None for no limit."""
    shallow: Decay = 0.0
    """Share of the parameters, from the first layer on, that both distances leave out. Published: 0 at one image per
    class, 0.5 beyond."""

    @property
    def step_sizes(self) -> int:
        return 1

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"target"}

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"student"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        assert draw.target is not None and synthetic.step_size is not None
        student = Student(draw, synthetic, shuffled(len(synthetic), self.batch, self.steps, ctx.rng["batches"]), ctx)
        way = student.trained(synthetic.step_size, 0.0, self.memory)
        gap = deep({name: value - draw.target[name] for name, value in way.end.items()}, self.shallow)
        scale = _squared(deep({name: value - draw.target[name] for name, value in draw.params.items()}, self.shallow))
        value = float(_squared(gap) / scale)
        if self.threshold is None or value <= self.threshold:
            way.backward({name: 2 * g / scale for name, g in gap.items()})
            student.backward_to_parameters()
        yield value


def deep(params: Params, shallow: float) -> Params:
    """``params`` with zeros in the place of the share ``shallow`` of all numbers, from the first on."""
    left = int(shallow * sum(value.numel() for value in params.values()))
    found = {}
    for name, value in params.items():
        flat = value.flatten()
        found[name] = torch.cat([torch.zeros_like(flat[:left]), flat[left:]]).view_as(value) if left > 0 else value
        left -= len(flat)
    return found


def _squared(params: Params) -> Tensor:
    return torch.stack([value.square().sum() for value in params.values()]).sum()
