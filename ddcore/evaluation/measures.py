"""Measures: numbers about trained networks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.chunking import slices
from ddcore.evaluation.training_set import TrainingSet
from ddcore.parts import Part
from ddcore.store import repeated
from ddcore.types import Draw


class Measure(Part, kind="measure"):
    """A number about trained networks."""

    @abstractmethod
    def __call__(self, draw: Draw, data: TrainingSet, chunk: int) -> Tensor:
        """One number a net (e,) for the ensemble ``draw``; ``chunk`` items fit memory at once."""


@dataclass(frozen=True)
class Accuracy(Measure):
    """Items whose largest logit is their class, in percent."""

    classes_only = True

    def __call__(self, draw: Draw, data: TrainingSet, chunk: int) -> Tensor:
        assert draw.ensemble is not None
        device = next(iter(draw.params.values())).device
        right = torch.zeros(draw.ensemble)
        with torch.no_grad():
            for part in slices(len(data), chunk):
                inputs, targets = data.take(torch.arange(part.start, part.stop))
                nets = repeated(inputs.to(device), draw.ensemble)
                right += (draw(nets, training=False).argmax(2).cpu() == targets).sum(1)
        return 100 * right / len(data)
