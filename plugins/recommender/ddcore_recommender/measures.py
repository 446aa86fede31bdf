"""What the first items of a ranking are worth: the items that a user has been seen with are left out of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore import plugin as dd

LOT = 512
"""Users that are ranked at once."""


class Top(dd.Measure):
    """The mean over users of what their first ``k`` items are worth, in percent."""

    suits = frozenset({"history"})
    unit: ClassVar[str] = "%"
    digits: ClassVar[int] = 2

    k: dd.Count
    """Items that are recommended."""

    @abstractmethod
    def worth(self, hits: Tensor, held: Tensor, each: Tensor, top: Tensor) -> Tensor:
        """(e, n) of ``hits`` (e, n, k), in order, ``held`` (n, m), what an item is worth ``each`` (m,) and the items
        ``top`` (e, n, k)."""

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        assert draw.ensemble is not None
        device = next(iter(draw.params.values())).device
        seen_of_all, _ = data.take(torch.arange(len(data)))
        each, total = inverse_propensity(seen_of_all), torch.zeros(draw.ensemble, dtype=torch.float64)
        with torch.no_grad():
            for rows in torch.arange(len(data)).split(min(chunk, LOT)):
                seen, held = (part.to(device) for part in data.take(rows))
                scores = draw(seen.expand(draw.ensemble, *seen.shape), training=False)
                top = scores.masked_fill(seen.bool(), -torch.inf).topk(min(self.k, scores.shape[2])).indices
                hits = held.expand(len(top), *held.shape).gather(2, top)
                total += self.worth(hits.double(), held, each.to(device), top).sum(1).cpu()
        return 100 * total / len(data)


@dataclass(frozen=True)
class HitRate(Top):
    """The share of users of whom one of the first ``k`` items is held out."""

    k: dd.Count = 10
    """Items that are recommended."""

    def worth(self, hits: Tensor, held: Tensor, each: Tensor, top: Tensor) -> Tensor:
        return hits.amax(2)


@dataclass(frozen=True)
class Ndcg(Top):
    """Gain that falls with the logarithm of the rank, as a share of the best that could be reached: nDCG@k."""

    k: dd.Count = 10
    """Items that are recommended."""

    def worth(self, hits: Tensor, held: Tensor, each: Tensor, top: Tensor) -> Tensor:
        gains = 1 / torch.arange(2, hits.shape[2] + 2).to(hits).log2()
        best = gains.cumsum(0)[held.sum(1).long().clamp(1, hits.shape[2]) - 1]
        return (hits * gains).sum(2) / best


@dataclass(frozen=True)
class Propensity(Top):
    """The share of the hits that could be reached, each weighted by how unlikely its item is seen: PSP@k.

    **Reference**: Jain, Prabhu and Varma, Extreme Multi-label Loss Functions, KDD 2016, with A = 0.55 and B = 1.5.
    """

    k: dd.Count = 10
    """Items that are recommended."""

    def worth(self, hits: Tensor, held: Tensor, each: Tensor, top: Tensor) -> Tensor:
        best = (held * each).topk(hits.shape[2]).values.sum(1)
        return (hits * each[top]).sum(2) / best


def inverse_propensity(seen: Tensor, a: float = 0.55, b: float = 1.5) -> Tensor:
    """1 + C (n_i + B)^-A of each item (m,), C = (log N - 1) (B + 1)^A, n_i its place among the N histories ``seen``."""
    counts = seen.sum(0).double()
    c = max(0.0, torch.tensor(float(len(seen))).log().item() - 1) * (b + 1) ** a
    return 1 + c * (counts + b) ** -a
