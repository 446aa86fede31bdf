"""The predictions of an ensemble on a data set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ddcore.chunking import slices
from ddcore.evaluation.training_set import TrainingSet
from ddcore.store import inputs_on, repeated
from ddcore.types import Draw


def predictions(draw: Draw, data: TrainingSet, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (e, n, k) of the ensemble ``draw`` and targets (n,), on the CPU, ``chunk`` items at a time."""
    assert draw.ensemble is not None
    device = next(iter(draw.params.values())).device
    with torch.no_grad():
        for part in slices(len(data), chunk):
            inputs, targets = data.take(torch.arange(part.start, part.stop))
            yield draw(repeated(inputs_on(inputs, device), draw.ensemble), training=False).cpu(), targets.cpu()


def all_predictions(draw: Draw, data: TrainingSet, chunk: int) -> tuple[Tensor, Tensor]:
    """Logits (e, n, k) of the ensemble ``draw`` and targets (n,) or (n, v) of all of ``data``, on the CPU."""
    logits, targets = zip(*predictions(draw, data, chunk), strict=True)
    return torch.cat(logits, 1), torch.cat(targets)
