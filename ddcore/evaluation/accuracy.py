"""Accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import predictions
from ddcore.evaluation.training_set import Preprocessed
from ddcore.types import Draw


@dataclass(frozen=True)
class Accuracy(Measure):
    """The share of items whose largest logit is that of their class, in percent."""

    classes_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        right: Tensor | float = 0.0
        for logits, targets in predictions(draw, data, chunk):
            right = right + (logits.argmax(2) == targets).sum(1)
        return 100 * torch.as_tensor(right) / len(data)
