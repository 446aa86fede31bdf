"""The ledger: what has been spent, by opacus' accountants, and what may still be."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache, lru_cache

import numpy as np

from ddcore import plugin as dd

AHEAD = 1024
"""Requests for which the ledger reckons ahead."""


POINTS = 2**19
"""Most grid points over which PRV composes: less than a second of work."""
FARTHEST = 700
"""The largest epsilon that such a grid may reach: exp of more is no float."""
ERROR = 0.01
"""PRV's error in epsilon, which it adds to its answer."""
LARGEST_ERROR = 0.5
"""Its largest error, where a finer grid would have too many points; at most ``SHARE`` of RDP's epsilon too."""
SHARE = 0.05
FINEST = 1e-3
"""How close, as a share, the noise that is solved for comes to the least."""
MUCH = 50.0
"""More than any ratio of budgets in logarithms."""
MOST_NOISE = 2.0**20
"""The largest noise multiplier that is tried."""

ORDERS = [1 + n / 10 for n in range(1, 100)] + [*range(12, 64), 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024]
"""Orders of RDP: those of opacus, and larger ones, without which no epsilon below 0.1 is ever found."""

Requests = Sequence[tuple[float, float, int]]
"""Noise multiplier, sampling rate, and how many such requests."""


@contextmanager
def _quiet():
    """Without the accountants' remarks on how tight a bound is: the other one stands beside it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def epsilon_of(history: Requests, delta: float, accountant: str = "prv") -> float:
    """Epsilon at ``delta`` of subsampled Gaussian requests ``history``, in whatever order.

    ``accountant``: ``prv`` (numerical, tight; RDP's answer where that is smaller, or where PRV is not to be had) or
    ``rdp`` (an upper bound, looser). A request without noise costs infinitely much, none costs nothing.
    """
    if accountant not in ("prv", "rdp"):
        raise dd.UnknownName("accountant", accountant, ("prv", "rdp"))
    return accounted(history, delta)[0] if accountant == "prv" else _rdp_epsilon(_merged(history), delta)


def accounted(history: Requests, delta: float) -> tuple[float, bool]:
    """The smallest epsilon at ``delta`` that is known of ``history``, and whether PRV gave it."""
    merged = _merged(history)
    rdp = _rdp_epsilon(merged, delta)
    prv = _prv_epsilon(merged, delta, rdp) if 0 < rdp < math.inf else math.inf
    return min(rdp, prv), prv <= rdp


def _merged(history: Requests) -> tuple[tuple[float, float, int], ...]:
    """One entry per kind of request: the order in which they were made changes nothing."""
    counts: Counter[tuple[float, float]] = Counter()
    for noise, rate, count in history:
        counts[noise, rate] += count
    return tuple((*kind, count) for kind, count in sorted(counts.items()))


@lru_cache(maxsize=4096)
def _rdp(noise: float, rate: float) -> np.ndarray:
    """RDP of one request at each of ``ORDERS``; infinite where opacus' series for it breaks down."""
    from opacus.accountants.analysis.rdp import compute_rdp

    def at(order: float) -> float:
        try:
            return np.asarray(compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=[order])).item()
        except (ValueError, OverflowError):
            return math.inf

    with _quiet():
        found = np.array([at(order) for order in ORDERS])
    return np.where(np.isnan(found), math.inf, found)


def _rdp_epsilon(merged: Requests, delta: float) -> float:
    if not merged:
        return 0.0
    if any(noise == 0 for noise, _, _ in merged):
        return math.inf
    from opacus.accountants.analysis.rdp import get_privacy_spent

    total = np.sum([count * _rdp(noise, rate) for noise, rate, count in merged], axis=0)
    with _quiet():
        epsilon, _ = get_privacy_spent(orders=ORDERS, rdp=total.tolist(), delta=delta)
    return max(0.0, float(epsilon))


@lru_cache(maxsize=256)
def _prv_epsilon(merged: tuple[tuple[float, float, int], ...], delta: float, rdp: float) -> float:
    """Epsilon by PRV; infinite where that would take too many points, or points too many for floats to add up to delta.

    How many there will be is known from RDP, as opacus itself lays out the grid.
    """
    requests, missed = sum(count for _, _, count in merged), delta / 1000
    reach = _rdp_epsilon(merged, missed / 4)
    for noise, rate, _ in merged:
        reach = max(reach, _rdp_epsilon(((noise, rate, 1),), missed / (8 * requests)))
    points = 2 * (reach + 3) / ERROR * math.sqrt(requests * math.log(12 / missed) / 2) * len(merged)
    error = ERROR * max(1.0, points / min(POINTS, delta / (10 * np.finfo(float).eps)))
    if reach + 3 > FARTHEST or error > max(ERROR, min(LARGEST_ERROR, SHARE * rdp)):
        return math.inf
    from opacus.accountants import PRVAccountant

    book = PRVAccountant()
    book.history = list(merged)
    try:
        with _quiet():
            epsilon = float(book.get_epsilon(delta=delta, eps_error=error))
    except (RuntimeError, ValueError, IndexError):  # opacus' own checks of its grid
        return math.inf
    return epsilon if epsilon >= 0 else math.inf


@cache
def noise_for(epsilon: float, delta: float, rate: float, requests: int) -> float:
    """The noise multiplier with which ``requests`` at sampling ``rate`` cost at most ``epsilon``, by PRV.

    Raises:
        RecipeRefused: there is none.
    """

    from scipy.optimize import root_scalar

    def excess(noise: float, accountant: str) -> float:
        """How far beyond the budget that noise is, in logarithms."""
        spent = epsilon_of([(noise, rate, requests)], delta, accountant)
        return max(-MUCH, min(MUCH, math.log(spent / epsilon))) if spent else -MUCH

    def least(accountant: str, enough: float, step: float) -> float:
        """The least noise that is enough, or a little more; looked for from ``enough`` downwards, ``step`` by step."""
        few = step * enough
        while excess(few, accountant) <= 0:
            few, enough = step * few, few
        noise = float(root_scalar(excess, args=(accountant,), bracket=(few, enough), rtol=FINEST / 4).root)
        while excess(noise, accountant) > 0:
            noise *= 1 + FINEST / 2
        return noise

    if _rdp_epsilon(((MOST_NOISE, rate, requests),), delta) > epsilon:
        raise dd.RecipeRefused(
            f"No noise makes {requests} requests at sampling rate {rate:.4g} cost as little as epsilon {epsilon} at"
            f" delta {delta}: allow a larger plugins.private.epsilon, or fewer requests or items."
        )
    return least("prv", least("rdp", MOST_NOISE, 0.2), 0.8)


class Ledger:
    """Counts each request as it is answered, and stops the run before the one that would exceed ``epsilon``."""

    def __init__(self, epsilon: float, delta: float) -> None:
        self.epsilon, self.delta = epsilon, delta
        self.history: list[tuple[float, float, int]] = []
        self._open: tuple[float, float] | None = None
        self._left = 0

    @property
    def requests(self) -> int:
        return sum(count for _, _, count in self.history)

    def spent(self, accountant: str = "prv") -> float:
        return epsilon_of(self.history, self.delta, accountant)

    def accounted(self) -> tuple[float, bool]:
        return accounted(self.history, self.delta)

    def spend(self, noise: float, rate: float) -> None:
        """Count a request with noise multiplier ``noise`` at sampling ``rate``; called before it is answered.

        Raises:
            RecipeRefused: the budget does not even allow the first.
            StopRun: it would exceed the budget; nothing is counted.
        """
        if self._open != (noise, rate) or not self._left:
            self._open, self._left = (noise, rate), self.allowance(noise, rate)
        if not self._left:
            budget = f"epsilon {self.epsilon} at delta {self.delta}"
            if not self.history:
                raise dd.RecipeRefused(
                    f"The allowance is zero: one request with noise multiplier {noise} at sampling rate {rate:.4g}"
                    f" costs epsilon {epsilon_of([(noise, rate, 1)], self.delta):.4g}, the budget is {budget}."
                    " Take more noise (plugins.private.noise_multiplier), fewer items a request, or a larger epsilon."
                )
            raise dd.StopRun(f"the privacy budget ({budget}) is spent after {self.requests} requests")
        self._left -= 1
        self._count(noise, rate)

    def allow(self, noise: float, rate: float, requests: int) -> None:
        """Before anything is spent: so many such requests are known to be within the budget."""
        self._open, self._left = (noise, rate), requests

    def _count(self, noise: float, rate: float) -> None:
        if self.history and self.history[-1][:2] == (noise, rate):
            self.history[-1] = (noise, rate, self.history[-1][2] + 1)
        else:
            self.history.append((noise, rate, 1))

    def allowance(self, noise: float, rate: float) -> int:
        """How many more such requests are known to be within the budget, zero where not even one is.

        It may be fewer than there are: RDP is asked first, and PRV, which allows more and costs seconds, once RDP
        allows nothing further; neither looks further than ``AHEAD``.
        """
        if math.isinf(self.epsilon):
            return 2**62
        return self._most(noise, rate, "rdp") or self._most(noise, rate, "prv")

    def _most(self, noise: float, rate: float, accountant: str) -> int:
        def affordable(count: int) -> bool:
            return epsilon_of([*self.history, (noise, rate, count)], self.delta, accountant) <= self.epsilon

        low, high = 0, 1
        while high <= AHEAD and affordable(high):
            low, high = high, 2 * high
        while high <= AHEAD and high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if affordable(middle) else (low, middle)
        return low

    def state_dict(self) -> dict:
        known = None if self._open is None else list(self._open)
        return {"history": [list(entry) for entry in self.history], "open": known, "left": self._left}

    def load_state_dict(self, state: dict) -> None:
        self.history = [(float(noise), float(rate), int(count)) for noise, rate, count in state["history"]]
        self._open, self._left = state["open"] and tuple(state["open"]), state["left"]
