"""The ledger: it agrees with opacus, and stops before the budget is exceeded."""

import math
import warnings

import pytest
from ddcore_private.ledger import Ledger, epsilon_of, noise_for
from opacus.accountants import PRVAccountant, RDPAccountant

from ddcore import RecipeRefused, StopRun, UnknownName

DELTA = 1e-5


def by(book):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return book.get_epsilon(delta=DELTA)


def exhaust(ledger, noise, rate):
    for _ in range(10_000):
        ledger.spend(noise, rate)


@pytest.mark.parametrize(("noise", "rate", "requests"), [(1.0, 0.01, 300), (0.7, 0.05, 40), (4.0, 1.0, 3)])
@pytest.mark.parametrize(("name", "accountant"), [("prv", PRVAccountant), ("rdp", RDPAccountant)])
def test_epsilon_is_opacus_own_counted_request_by_request(noise, rate, requests, name, accountant):
    ledger, book = Ledger(math.inf, DELTA), accountant()
    for _ in range(requests):
        ledger.spend(noise, rate)
        book.step(noise_multiplier=noise, sample_rate=rate)
    assert ledger.requests == requests
    assert ledger.spent(name) == pytest.approx(by(book), rel=1e-9)


def test_requests_of_several_kinds_add_up():
    ledger, book = Ledger(math.inf, DELTA), PRVAccountant()
    for noise, rate in [(1.0, 0.01)] * 3 + [(2.0, 0.1)] * 2 + [(1.0, 0.01)]:
        ledger.spend(noise, rate)
        book.step(noise_multiplier=noise, sample_rate=rate)
    assert ledger.history == [(1.0, 0.01, 3), (2.0, 0.1, 2), (1.0, 0.01, 1)]
    assert ledger.spent() == pytest.approx(by(book), rel=1e-9)


def test_nothing_costs_nothing_and_no_noise_costs_everything():
    assert epsilon_of([], DELTA) == 0
    assert epsilon_of([(0.0, 0.1, 1)], DELTA) == math.inf
    with pytest.raises(UnknownName, match="no accountant named 'gdp'"):
        epsilon_of([(1.0, 0.1, 1)], DELTA, "gdp")


def test_the_noise_is_the_least_that_lasts():
    noise = noise_for(3.0, DELTA, 0.02, 100)
    assert epsilon_of([(noise, 0.02, 100)], DELTA) <= 3.0
    assert epsilon_of([(0.98 * noise, 0.02, 100)], DELTA) > 3.0
    with pytest.raises(RecipeRefused, match=r"No noise makes 10 requests .* as little as epsilon 1e-09"):
        noise_for(1e-9, 1e-12, 1.0, 10)


def test_the_run_stops_before_the_request_that_would_exceed_the_budget():
    ledger = Ledger(2.0, DELTA)
    with pytest.raises(StopRun, match=r"the privacy budget \(epsilon 2.0 at delta 1e-05\) is spent after"):
        exhaust(ledger, 1.0, 0.1)
    assert ledger.spent() <= 2.0
    assert epsilon_of([(1.0, 0.1, ledger.requests + 1)], DELTA) > 2.0, "by PRV, not by the looser RDP"
    spent = ledger.requests
    with pytest.raises(StopRun):
        ledger.spend(1.0, 0.1)
    assert ledger.requests == spent, "what is refused is not counted"
    ledger.spend(50.0, 0.01)
    assert ledger.spent() <= 2.0, "cheaper ones may go on"


def test_an_allowance_of_zero_is_refused_with_a_sentence():
    with pytest.raises(RecipeRefused, match=r"The allowance is zero: one request .* costs epsilon"):
        Ledger(0.1, DELTA).spend(0.5, 1.0)


def test_it_survives_a_stop():
    ledger = Ledger(2.0, DELTA)
    ledger.allow(1.0, 0.02, 5)
    for _ in range(5):
        ledger.spend(1.0, 0.02)
    again = Ledger(2.0, DELTA)
    again.load_state_dict(ledger.state_dict())
    assert again.history == ledger.history == [(1.0, 0.02, 5)]
    with pytest.raises(StopRun):
        exhaust(again, 1.0, 0.02)
    assert again.requests > 5
    assert again.spent() <= 2.0
