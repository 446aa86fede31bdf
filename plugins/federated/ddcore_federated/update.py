"""Sets that stand in for what local training would have sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore import plugin as dd


@dataclass(frozen=True)
class UpdateMatch(dd.Objective):
    """L = || D_S - D_T ||^2 / || D_T ||^2: S's update of the weights against that of training on T.

    D_S is the update of ``steps`` steps on all of S at the step size that S learns, D_T the way to the target of the
    draw. The steps are stored in the artefact, to be replayed.

    **References**: ``steps`` 1, Goetz and Tewari, 2020; more, Hu et al., FedSynth, 2022.
    """

    steps: dd.Count = 1
    """Steps on S."""

    def _match(self) -> dd.TrajectoryMatch:
        return dd.TrajectoryMatch(self.steps)

    @property
    def step_sizes(self) -> int:
        return self._match().step_sizes

    @property
    def needs(self) -> frozenset[str]:
        return self._match().needs

    @property
    def gives(self) -> frozenset[str]:
        return self._match().gives

    def replay(self, synthetic: dd.SyntheticSet) -> dd.Replay:
        assert synthetic.step_size is not None, "its needs say so"
        rows = torch.arange(len(synthetic), device=synthetic.carrier.classes.device)
        return dd.Replay(rows.repeat(self.steps, 1), synthetic.step_size.expand(self.steps))

    def accumulate(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> Iterator[float]:
        return self._match().accumulate(draw, synthetic, ctx)
