"""How one way of ranking stands against the truth: statistics, what they may be, what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ddcore_nas.statistics import Numbers, Statistic, interval, kendall, over_candidates, regret, spearman, top

SHARES = (0.05, 0.1, 0.2)
"""Shares of the truly best candidates over which rank correlations are reported."""
STATISTICS: Mapping[str, Statistic] = {
    "spearman": spearman,
    "kendall": kendall,
    **{f"spearman_top_{round(100 * share)}": top(share, spearman) for share in SHARES},
    **{f"kendall_top_{round(100 * share)}": top(share, kendall) for share in SHARES},
    "regret": regret,
}
"""What is reported, by name."""


@dataclass(frozen=True)
class Truth:
    """What full training leads to."""

    names: Sequence[str]
    """The candidates (n,)."""
    accuracies: Numbers
    """In percent (s, n), one row for each seed; 0 of a candidate that failed."""
    failed: Mapping[str, str]
    """Why candidates failed, by name."""
    seconds: float
    """Of one network of each candidate that was trained."""

    @property
    def mean(self) -> Numbers:
        """(n,), over the seeds."""
        return self.accuracies.mean(0)


@dataclass(frozen=True)
class Standing:
    """Candidates as they are ranked by a proxy, after so many steps on it."""

    label: str
    steps: int
    nbytes: int
    condensing: float
    """Seconds of making the proxy once, over the seeds."""
    results: Sequence[Sequence[Mapping[str, Any]]]
    """Of each seed and candidate, as :class:`~ddcore_nas.trial.Result` has it."""
    early: bool = False
    """The proxy is T."""

    @property
    def name(self) -> str:
        return f"{self.label}, {self.steps} steps"

    @cached_property
    def scores(self) -> Numbers:
        """Accuracies in percent (s, n) on validation."""
        return np.array([[one["accuracy"] for one in results] for results in self.results])

    @cached_property
    def search(self) -> float:
        """Seconds of training and measuring all candidates once, over the seeds."""
        return sum(one["training"] + one["measuring"] for results in self.results for one in results) / len(
            self.results
        )

    @property
    def failed(self) -> dict[int, str]:
        """Why candidates failed, by their places."""
        return {i: one["failed"] for results in self.results for i, one in enumerate(results) if one["failed"]}

    def seconds(self, searches: int) -> float:
        """Seconds of one search where so many share the proxy."""
        return self.condensing / searches + self.search

    def estimates(self, truth: Truth) -> dict[str, float]:
        """Each statistic against the mean truth, its mean over the seeds."""
        return {name: float(of(self.scores, truth.mean).mean()) for name, of in STATISTICS.items()}

    def over_candidates(self, truth: Truth, draws: int) -> dict[str, Numbers]:
        """Each statistic (draws,) of candidates drawn with replacement, the same draws for every standing."""
        rows = over_candidates(len(truth.names), draws, seed=0)
        scores, its = self.scores[:, rows], truth.mean[rows]
        return {name: of(scores, its).mean(0) for name, of in STATISTICS.items()}

    def over_seeds(self, truth: Truth, draws: int) -> dict[str, Numbers]:
        """Each statistic (draws,) of seeds drawn with replacement, those of the proxy and those of the truth."""
        rng = np.random.default_rng(1)
        mine, its = (len(each) for each in (self.scores, truth.accuracies))
        scores = self.scores[rng.integers(mine, size=(draws, mine))]
        means = truth.accuracies[rng.integers(its, size=(draws, its))].mean(1)
        return {name: of(scores, means[:, None]).mean(1) for name, of in STATISTICS.items()}


@dataclass(frozen=True)
class Ranked:
    """A standing with its statistics."""

    standing: Standing
    estimates: Mapping[str, float]
    candidates: Mapping[str, Numbers]
    """The statistics (draws,) of each draw of candidates."""
    seeds: Mapping[str, Numbers]
    """The statistics (draws,) of each draw of seeds."""

    @staticmethod
    def of(standing: Standing, truth: Truth, draws: int) -> Ranked:
        over = standing.over_candidates(truth, draws), standing.over_seeds(truth, draws)
        return Ranked(standing, standing.estimates(truth), *over)

    def told(self, statistic: str) -> dict[str, Any]:
        """The estimate, and where 95 % of either bootstrap lie."""
        over = {"candidates": self.candidates, "seeds": self.seeds}
        return {
            "estimate": self.estimates[statistic],
            **{f"over_{what}": interval(draws[statistic]) for what, draws in over.items()},
        }


@dataclass(frozen=True)
class Lead:
    """By how much a statistic of a proxy is above that of early stopping at the same total cost."""

    estimate: float
    interval: tuple[float, float]
    """Over candidates."""
    seconds: float
    """Of one search, with its share of condensing."""


def lead(ranked: Ranked, early: Sequence[Ranked], statistic: str, searches: int) -> Lead:
    """The lead where so many searches share the proxy.

    Early stopping of that cost lies between two that were run, in proportion to the logarithm of the seconds; below the
    shortest and beyond the longest of them, it is that one.
    """
    seconds = ranked.standing.seconds(searches)
    early = sorted(early, key=lambda one: one.standing.search)
    at = np.log([one.standing.search for one in early])
    weights = [float(np.interp(np.log(seconds), at, row)) for row in np.eye(len(early))]
    draws = ranked.candidates[statistic] - sum(
        w * one.candidates[statistic] for w, one in zip(weights, early, strict=True)
    )
    others = sum(w * one.estimates[statistic] for w, one in zip(weights, early, strict=True))
    return Lead(ranked.estimates[statistic] - others, interval(draws), seconds)
