"""One half of a pair, found by the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_pairs.towers import check_halves


@dataclass(frozen=True)
class Recall(dd.Measure):
    """How often the other half of a pair is among the ``k`` nearest of its gallery, in percent.

    The items to test on stand in galleries of ``gallery``, one after another; what is left over is not asked.
    """

    suits = frozenset({"vector"})
    values_only = True
    unit: ClassVar[str] = "%"

    k: dd.Count = 1
    """How many of the nearest count."""
    back: bool = False
    """From the second half to the first, and not from the first to the second."""
    gallery: dd.Count = 10
    """Pairs among which one is to be found."""

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        check_halves(card)

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        outputs, _ = dd.all_predictions(draw, data, chunk)
        size = min(self.gallery, outputs.shape[1])
        whole = outputs[:, : outputs.shape[1] // size * size].unflatten(1, (-1, size))
        one, other = (F.normalize(half, dim=3) for half in whole.chunk(2, 3))
        alike = other @ one.mT if self.back else one @ other.mT
        own = torch.arange(size)[:, None]
        return 100 * (alike.topk(min(self.k, size)).indices == own).any(3).double().mean((1, 2))
