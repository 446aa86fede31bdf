"""Each fast path against its plain twin, as the benchmark checks it before it measures; and what it writes."""

import json

import pytest
import torch

from ddcore import DdcoreError, RecipeRefused, UnknownName
from ddcore.bench import ROWS, TOLERANCE, Pair, launches, main, measure, measuring
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


def test_the_file_names_the_command_that_made_it(tmp_path, monkeypatch):
    pair = Pair(lambda: None, lambda: None, lambda: 0.0, "made")
    monkeypatch.setattr(measuring, "_rows", lambda: {"one": lambda device: [pair], "other": lambda device: [pair]})
    monkeypatch.setattr(measuring, "_peak", lambda *_: (1.0, 1.0))
    main(["one", "other"], tmp_path / "found.json", rounds=3)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"] == "ddcore bench one other"
    assert [row["rounds"] for row in found["rows"]] == [measuring.ROUNDS] * 2
    assert measuring.command(["a b"], 9, 2, "cuda") == "ddcore bench 'a b' --rounds 9 --threads 2 --device cuda"
