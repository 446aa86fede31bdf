"""The ledger: what has been spent, by opacus' accountants, and what may still be."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from functools import cache

from ddcore import plugin as dd

AHEAD = 1024
"""Requests for which the ledger reckons ahead."""


@contextmanager
def _quiet():
    """Without the accountants' remarks on how tight a bound is: the other one stands beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def epsilon_of(history, delta, accountant="prv"):
    """Epsilon at ``delta`` of subsampled Gaussian requests ``history``: (noise multiplier, rate, how many) each.

    ``accountant``: ``prv`` (numerical, tight) or ``rdp`` (an upper bound, looser). A request without noise costs
    infinitely much, none costs nothing.
    """
    if not history:
        return 0.0
    if any(noise == 0 for noise, _, _ in history):
        return math.inf
    if accountant not in ("prv", "rdp"):
        raise dd.UnknownName("accountant", accountant, ("prv", "rdp"))
    from opacus.accountants import create_accountant

    with _quiet():
        book = create_accountant(accountant)
        book.history = list(history)
        return float(book.get_epsilon(delta=delta))


@cache
def noise_for(epsilon, delta, rate, requests):
    """The noise multiplier with which ``requests`` at sampling ``rate`` cost at most ``epsilon``, by PRV.

    Raises:
        RecipeRefused: there is none.
    """
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with _quiet():
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=requests, accountant="prv"
                )
            )
    except ValueError as error:
        raise dd.RecipeRefused(
            f"No noise makes {requests} requests at sampling rate {rate:.4g} cost as little as epsilon {epsilon} at"
            f" delta {delta}: allow a larger plugins.private.epsilon, or fewer requests or items."
        ) from error


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
        return {"history": [list(entry) for entry in self.history], "open": self._open, "left": self._left}

    def load_state_dict(self, state: dict) -> None:
        self.history = [(float(noise), float(rate), int(count)) for noise, rate, count in state["history"]]
        self._open, self._left = state["open"], state["left"]
