"""Networks that diverged: whose parameters or outputs are not finite."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddcore.evaluation.measures import Measure
from ddcore.evaluation.training_set import Preprocessed
from ddcore.types import Call, Draw, WrappedNetwork


@dataclass(frozen=True, eq=False)
class Watched(WrappedNetwork):
    """``network``; ``finite`` (e,) becomes false for each of its nets that gives an output that is not finite."""

    finite: Tensor

    def apply(self, call: Call, x: Tensor) -> Tensor:
        answer = self.network.apply(call, x)
        if call.ensemble == len(self.finite):
            self.finite.logical_and_(_finite(answer.detach()))
        return answer


def measured(measure: Measure, draw: Draw, data: Preprocessed, chunk: int) -> list[float]:
    """The measure of each net of the ensemble ``draw``; NaN for nets that diverged."""
    assert draw.ensemble is not None
    finite = torch.ones(draw.ensemble, dtype=torch.bool, device=next(iter(draw.params.values())).device)
    for value in (*draw.params.values(), *draw.buffers.values()):
        finite.logical_and_(_finite(value.detach()))
    values = measure(replace(draw, network=Watched(draw.network, finite)), data, chunk).double().cpu()
    return values.where(finite.cpu(), torch.nan).tolist()


def _finite(value: Tensor) -> Tensor:
    return value.isfinite().flatten(1).all(1) if value.ndim > 1 else value.isfinite()
