"""How sure networks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Confidence(dd.Measure):
    """The mean of the largest softmax output, in percent."""

    classes_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        total = torch.zeros(draw.ensemble or 1)
        for logits, _ in dd.predictions(draw, data, chunk):
            total += logits.softmax(2).amax(2).sum(1)
        return 100 * total / len(data)
