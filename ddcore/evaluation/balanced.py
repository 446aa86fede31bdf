"""Measures of classes of unequal size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import all_predictions
from ddcore.evaluation.training_set import Preprocessed
from ddcore.types import Draw


@dataclass(frozen=True)
class BalancedAccuracy(Measure):
    """The mean over classes of the share of their items that are right, in percent.

    Chance is 100 / k, whatever the sizes of the classes. Classes without an item in the data are left out.
    """

    classes_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        logits, targets = all_predictions(draw, data, chunk)
        right = (logits.argmax(2) == targets).double()
        return 100 * torch.stack([right[:, targets == c].mean(1) for c in targets.unique()]).mean(0)


@dataclass(frozen=True)
class Auc(Measure):
    """The area under the ROC curve: how likely an item of a class is scored above one that is not of it, in percent.

    A score is the softmax output of the class; the mean over classes that the data have, each against the rest.
    """

    classes_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        from sklearn.metrics import roc_auc_score

        logits, targets = all_predictions(draw, data, chunk)
        present = [int(c) for c in targets.unique()]
        if len(present) < 2:
            return torch.full((len(logits),), torch.nan)
        scores = logits.double().softmax(2).nan_to_num()
        each = [[float(roc_auc_score(targets == c, net[:, c])) for c in present] for net in scores]
        return 100 * torch.tensor(each, dtype=torch.float64).mean(1)
