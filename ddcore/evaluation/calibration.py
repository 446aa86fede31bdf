"""The calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore.bounds import Count
from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import predictions
from ddcore.evaluation.training_set import Preprocessed
from ddcore.papers import PAPERS
from ddcore.types import Citation, Draw


@dataclass(frozen=True)
class CalibrationError(Measure):
    """The expected calibration error, in percent: how far confidence is from accuracy.

    Items are sorted into ``bins`` of equal width by the largest softmax output; the error is the mean over items of
    | accuracy - mean confidence | of their bin.
    """

    bins: Count = 15
    """Bins of confidence between 0 and 1."""

    classes_only = True
    unit: ClassVar[str] = "%"
    higher_is_better: ClassVar[bool] = False
    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["guo2017calibration"],)

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        assert draw.ensemble is not None
        gaps = torch.zeros(draw.ensemble, self.bins, dtype=torch.float64)
        for logits, targets in predictions(draw, data, chunk):
            confidence, said = logits.double().softmax(2).max(2)
            place = (confidence.nan_to_num() * self.bins).ceil().long().clamp(1, self.bins) - 1
            gaps.scatter_add_(1, place, (said == targets).double() - confidence)
        return 100 * gaps.abs().sum(1) / len(data)
