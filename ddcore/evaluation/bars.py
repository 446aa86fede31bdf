"""Error bars, and how far predictions of values are off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import all_predictions
from ddcore.evaluation.training_set import Preprocessed
from ddcore.types import Draw


def _off(draw: Draw, data: Preprocessed, chunk: int) -> tuple[Tensor, Tensor]:
    """How far predictions are off, and their error bars (e, n, v); what gives no bars has bars of 0."""
    outputs, targets = all_predictions(draw, data, chunk)
    mean, *bars = outputs.double().split(targets.shape[1], 2)
    return (mean - targets).abs(), bars[0] if bars else torch.zeros_like(mean)


@dataclass(frozen=True)
class RootError(Measure, name="root_error"):
    """The root of the mean squared error, in the unit of the values."""

    values_only = True
    higher_is_better: ClassVar[bool] = False
    digits: ClassVar[int] = 3

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        return _off(draw, data, chunk)[0].square().mean((1, 2)).sqrt()


@dataclass(frozen=True)
class ErrorBar(Measure, name="error_bar"):
    """The error bar, one standard deviation, in the unit of the values: the mean over the items."""

    values_only = True
    higher_is_better: ClassVar[bool] = False
    digits: ClassVar[int] = 3

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        return _off(draw, data, chunk)[1].mean((1, 2))


@dataclass(frozen=True)
class Coverage(Measure):
    """How often the prediction, plus or minus its error bar, holds the value: 68 where normal errors have true bars."""

    values_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        off, bars = _off(draw, data, chunk)
        return 100 * (off <= bars).double().mean((1, 2))
