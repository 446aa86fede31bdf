"""R squared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import all_predictions
from ddcore.evaluation.training_set import Preprocessed
from ddcore.types import Draw


@dataclass(frozen=True)
class RSquared(Measure, name="r_squared"):
    """The share of the values' variance that is predicted, 1 - E |f(x) - y|^2 / E |y - mean|^2.

    1 for perfect predictions, 0 for those of the mean, below it for worse ones; the mean over the values of an item.
    """

    values_only = True
    digits: ClassVar[int] = 3

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        outputs, targets = all_predictions(draw, data, chunk)
        wrong = (outputs.double() - targets).square().mean(1)
        return (1 - wrong / targets.double().var(0, correction=0)).mean(1)
