"""How well scores rank: rank correlations, over all or over the best, the regret of a choice, and intervals.

``scores`` and ``truth`` are arrays (..., n) of one number for each of n candidates, the larger the better.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers, Numbers], Numbers]

PAIRS = 2**22
"""Pairs of candidates that are compared at once."""


def spearman(scores: Numbers, truth: Numbers) -> Numbers:
    """Spearman's correlation (...,), ties by their mean rank; 0 where either tells no two candidates apart."""
    a, b = (rankdata(x, axis=-1) for x in np.broadcast_arrays(scores, truth))
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    return _ratio((a * b).sum(-1), np.sqrt((a * a).sum(-1) * (b * b).sum(-1)))


def kendall(scores: Numbers, truth: Numbers) -> Numbers:
    """Kendall's tau-b (...,), which counts ties; 0 where either tells no two candidates apart."""
    a, b = np.broadcast_arrays(scores, truth)
    shape, n = a.shape[:-1], a.shape[-1]
    a, b = a.reshape(-1, n), b.reshape(-1, n)
    rows = max(1, PAIRS // n**2)
    parts = [_kendall(a[i : i + rows], b[i : i + rows]) for i in range(0, len(a), rows)]
    return np.concatenate(parts).reshape(shape)


def _kendall(a: Numbers, b: Numbers) -> Numbers:
    first, second = (np.sign(x[:, :, None] - x[:, None, :]) for x in (a, b))
    each = (np.einsum("rij,rij->r", x, y) for x, y in ((first, second), (first, first), (second, second)))
    agreeing, own, its = each
    return _ratio(agreeing, np.sqrt(own * its))


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def top(share: float, statistic: Statistic) -> Statistic:
    """``statistic`` over the ``share`` of the candidates whose truth is best, at least two of them."""

    def among_the_best(scores: Numbers, truth: Numbers) -> Numbers:
        scores, truth = np.broadcast_arrays(scores, truth)
        best = np.argsort(-truth, axis=-1, kind="stable")[..., : best_of(share, truth.shape[-1])]
        return statistic(np.take_along_axis(scores, best, -1), np.take_along_axis(truth, best, -1))

    return among_the_best


def best_of(share: float, candidates: int) -> int:
    """How many candidates the best ``share`` of them are."""
    return min(candidates, max(2, round(share * candidates)))


def regret(scores: Numbers, truth: Numbers) -> Numbers:
    """The best truth less that of the candidate with the best score (...,); of several such, their mean."""
    scores, truth = np.broadcast_arrays(scores, truth)
    chosen = scores == scores.max(-1, keepdims=True)
    return truth.max(-1) - (truth * chosen).sum(-1) / chosen.sum(-1)


def over_candidates(count: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Bootstrap: the candidates (draws, n) of each draw with replacement."""
    return np.random.default_rng(seed).integers(count, size=(draws, count))


def interval(values: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Between which ``level`` of the bootstrap ``values`` (draws,) lie, as many below as above."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
