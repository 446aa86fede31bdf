"""Each fast path against its plain twin, as the benchmark checks it before it measures."""

import pytest
import torch

from ddcore import DdcoreError, RecipeRefused, UnknownName
from ddcore.bench import ROWS, TOLERANCE, Pair, launches, main, measure
from ddcore.device import check_compiler


@pytest.mark.parametrize("row", [row for row in ROWS if row != "compiled"])
def test_fast_and_plain_agree_on_digits(row):
    assert ROWS[row]("cpu")[-1].apart() <= TOLERANCE


@pytest.mark.slow
def test_compiled_and_plain_agree_on_digits():
    try:
        check_compiler("gate.compiled", torch.device("cpu"))
    except RecipeRefused as error:
        pytest.skip(str(error))
    assert ROWS["compiled"]("cpu")[-1].apart() <= TOLERANCE


def test_paths_that_differ_are_not_measured():
    def forbidden():
        raise AssertionError("nothing is timed before both agree")

    with pytest.raises(DdcoreError, match=r"dm \(made\): fast and plain differ by 1.0e-01"):
        measure("dm", 0, Pair(forbidden, forbidden, lambda: 0.1, "made"), rounds=7, threads=1)


def test_views_launch_nothing_and_the_way_back_counts():
    x = torch.ones(4, requires_grad=True)
    assert launches(lambda: (x.view(2, 2) + 1).sum()) == 2
    forward, both = launches(lambda: (x * x).sum()), launches(lambda: torch.autograd.grad((x * x).sum(), x))
    assert both > forward


def test_an_unknown_row_lists_the_near_ones():
    with pytest.raises(UnknownName, match="no benchmark named 'evalute'. Did you mean evaluate"):
        main(["evalute"])
