"""The ledger: it agrees with opacus, and stops before the budget is exceeded."""

import json
import math
import warnings
from itertools import pairwise, product

import pytest
from ddcore_private.ledger import POINTS, Ledger, accounted, epsilon_of, noise_for
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


def test_a_ledger_goes_on_as_json_writes_it():
    ledger, again = Ledger(2.0, DELTA), Ledger(2.0, DELTA)
    ledger.allow(1.0, 0.02, 5)
    ledger.spend(1.0, 0.02)
    again.load_state_dict(json.loads(json.dumps(ledger.state_dict())))
    assert again.state_dict() == ledger.state_dict()
    again.allowance = lambda *_: pytest.fail("reckoned anew, though four more are known to be within the budget")
    for _ in range(4):
        again.spend(1.0, 0.02)


# --- a bound on the work -----------------------------------------------------------------------------------

NOISES = (0.05, 0.3, 1.0, 4.0, 100.0)
RATES = (1e-4, 0.01, 0.2, 1.0)
COUNTS = (1, 100, 10**4, 10**6, 10**7)
DELTAS = (1e-5, 1e-9)


@pytest.fixture
def grids(monkeypatch):
    """The sizes of the grids that PRV was asked to compose over; it does not."""
    sizes = []

    def discretised(prv, domain):
        sizes.append(domain.size)
        raise RuntimeError("no work is done here")

    monkeypatch.setattr("opacus.accountants.prv.discretize", discretised)
    return sizes


def test_the_work_is_bounded_before_it_is_done(grids):
    for noise, rate, count, delta in product(NOISES, RATES, COUNTS, DELTAS):
        assert 0 < epsilon_of([(noise, rate, count)], delta) < math.inf
    many = [(4.0, 0.01 + n / 10**4, 30) for n in range(40)]
    seen = len(grids)
    assert epsilon_of(many, DELTA) == epsilon_of(many, DELTA, "rdp")
    assert len(grids) == seen, "forty grids are too many"
    assert len(grids) > 50
    assert max(grids) <= 1.25 * POINTS


def test_more_requests_less_noise_and_a_smaller_delta_cost_more(grids):
    found = {
        kind: epsilon_of([(kind[0], kind[1], kind[2])], kind[3]) for kind in product(NOISES, RATES, COUNTS, DELTAS)
    }
    for noise, rate, count, delta in found:
        for cheaper in (
            *((more, rate, count, delta) for less, more in pairwise(NOISES) if less == noise),
            *((noise, rarer, count, delta) for rarer, rate_ in pairwise(RATES) if rate_ == rate),
            *((noise, rate, fewer, delta) for fewer, count_ in pairwise(COUNTS) if count_ == count),
            *((noise, rate, count, larger) for larger, delta_ in pairwise(DELTAS) if delta_ == delta),
        ):
            assert found[cheaper] <= found[noise, rate, count, delta]


@pytest.mark.parametrize("rate", [0.01, 1.0])
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_prv_is_tighter_than_rdp_and_grows_with_the_requests(noise, rate):
    counts = (1, 30, 1000, 10**5, 10**7)
    found = [accounted([(noise, rate, count)], DELTA) for count in counts]
    assert any(by_prv for _, by_prv in found)
    assert not all(by_prv for _, by_prv in found)
    assert all(one[0] < more[0] for one, more in pairwise(found))
    for count, (epsilon, by_prv) in zip(counts, found, strict=True):
        rdp = epsilon_of([(noise, rate, count)], DELTA, "rdp")
        assert 0 < epsilon <= rdp if by_prv else epsilon == rdp


@pytest.mark.parametrize(
    ("epsilon", "requests", "rate"),
    [(0.05, 100, 0.01), (1.0, 10**7, 0.01), (100.0, 1000, 0.2), (1e4, 10**6, 1.0), (1e4, 1, 0.001)],
)
def test_noise_is_found_for_any_budget(epsilon, requests, rate):
    noise = noise_for(epsilon, DELTA, rate, requests)
    assert 0.98 * epsilon < epsilon_of([(noise, rate, requests)], DELTA) <= epsilon


def test_the_order_of_requests_changes_nothing():
    one, other = (1.0, 0.01, 2), (2.0, 0.1, 3)
    mixed = [(1.0, 0.01, 1), other, (1.0, 0.01, 1)]
    assert accounted(mixed, DELTA) == accounted([one, other], DELTA) == accounted([other, one], DELTA)
