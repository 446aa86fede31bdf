"""Rank statistics against scipy and against examples by hand."""

import numpy as np
import pytest
from ddcore_nas import statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

NUMBERS = st.lists(st.integers(0, 6), min_size=3, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_correlations_are_scipys_ties_included(data):
    truth = np.array(data.draw(NUMBERS), float)
    scores = np.array(data.draw(st.lists(st.integers(0, 6), min_size=len(truth), max_size=len(truth))), float)
    told = [float(of(scores, truth)) for of in (statistics.spearman, statistics.kendall)]
    if len({*scores}) == 1 or len({*truth}) == 1:
        assert told == [0, 0]
    else:
        wanted = [stats.spearmanr(scores, truth).statistic, stats.kendalltau(scores, truth).statistic]
        assert told == pytest.approx(wanted, abs=1e-12)


def test_many_rows_at_once_are_each_by_itself(monkeypatch):
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 9, (4, 3, 20)).astype(float), rng.random((3, 20))
    monkeypatch.setattr(statistics, "PAIRS", 900)
    for of in (statistics.spearman, statistics.kendall, statistics.regret, statistics.top(0.3, statistics.kendall)):
        together = of(scores, truth)
        assert together.shape == (4, 3)
        alone = [[float(of(s, t)) for s, t in zip(row, truth, strict=True)] for row in scores]
        assert np.allclose(together, alone)


def test_the_top_are_the_truly_best():
    truth = np.array([5.0, 1, 4, 2, 3, 0, -1, -2, -3, -4])
    scores = np.array([1.0, 9, 2, 9, 3, 0, 0, 0, 0, 0])
    assert statistics.best_of(0.3, 10) == 3
    assert float(statistics.top(0.3, statistics.spearman)(scores, truth)) == pytest.approx(-1)
    assert statistics.best_of(0.05, 10) == 2, "at least two, or there is nothing to rank"


def test_regret_is_of_the_first_and_of_several_firsts_the_mean():
    truth = np.array([90.0, 80, 70])
    assert float(statistics.regret(np.array([1.0, 2, 0]), truth)) == 10
    assert float(statistics.regret(np.array([0.0, 2, 2]), truth)) == 15
    assert float(statistics.regret(np.array([3.0, 2, 2]), truth)) == 0


def test_an_interval_holds_its_share():
    assert statistics.interval(np.arange(1001.0)) == pytest.approx((25, 975))
