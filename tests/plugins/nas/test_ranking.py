"""The ranking study: what it reports, that it goes on, and that nothing fails silently."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ddcore_nas import Condensed, ConvNets, Ranking, Stored, Whole
from ddcore_nas.space import Candidate
from ddcore_nas.standing import Ranked, Standing, Truth, lead
from ddcore_nas.summary import finding, share_accounted
from ddcore_nas.trial import Kept, Trial

import ddcore
from ddcore import Protocol, RecipeRefused
from ddcore import plugin as dd

QUICK = Protocol(steps=3, batch=32, augment=None)
SMALL = ConvNets(widths=(4,), depths=(1, 2), activations=("sigmoid", "relu"), norms=("none", "layer"), subsample=6)
DM = Condensed("dm", 1, {"iterations": 2, "network": {"width": 4}, "objective": {"real": 8}})


def study(**fields):
    usual = {"proxies": (Whole(), Condensed("random", 1), DM), "seeds": (0, 1), "lengths": (1, 2), "draws": 20}
    return Ranking(**{**usual, "items": 200, "space": SMALL, "training": QUICK, "full": QUICK, **fields})


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("case.json")}


def test_it_reports_each_proxy_at_each_length_and_goes_on(tmp_path):
    finding = ddcore.run_study(study(), tmp_path)
    assert [tuple(row[:2]) for row in finding.rows] == [
        *((label, steps) for label in ("T, stopped early", "random, 1 per class", "dm, 1 per class") for steps in "12"),
        ("in full, another seed", ""),
    ]
    assert all(len(row) == len(finding.head) for row in finding.rows)
    told = json.loads((tmp_path / "finding.json").read_text())
    assert len(told["candidates"]) == 6
    assert all(len(c["accuracies"]) == 2 and len(c["proxies"]) == 6 for c in told["candidates"])
    for proxy in told["proxies"]:
        for name in ("spearman", "kendall", "spearman_top_20", "kendall_top_5", "regret"):
            low, high = proxy[name]["over_candidates"]
            assert low <= high
            assert len(proxy[name]["over_seeds"]) == 2
    assert told["proxies"][4]["condensing"] > 0 == told["proxies"][0]["condensing"]
    assert set(told["proxies"][4]["lead"]["regret"]) == {"1", "10", "100"}
    for plot in ("scatter.png", "regret.png", "top.png"):
        assert (tmp_path / plot).stat().st_size > 5000
    before = stamps(tmp_path)
    more = study(proxies=(Whole(), Condensed("random", 1), DM, Condensed("herding", 1, {"network": {"width": 4}})))
    again = ddcore.run_study(more, tmp_path)
    assert {path: stamp for path, stamp in stamps(tmp_path).items() if path in before} == before
    assert len(again.rows) == len(finding.rows) + 2
    assert again.rows[:6] == finding.rows[:6]


def test_seconds_add_up_to_the_wall_time(tmp_path):
    """Of work that takes long beside the writing of files, as all but a test's does."""
    longer = replace(QUICK, steps=60)
    plan = study(training=longer, full=longer, lengths=(60,), proxies=(Whole(),), seeds=(0,))
    told = ddcore.run_study(plan, tmp_path).numbers
    assert 0.7 < told["accounted"] <= 1.001


def test_what_was_trained_is_found_again_by_content_in_another_study(tmp_path):
    kept = {"trainings": str(tmp_path / "kept"), "proxies": (Whole(),)}
    first = ddcore.run_study(study(**kept), tmp_path / "a")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.json")}
    second = ddcore.run_study(study(**kept, draws=10), tmp_path / "b")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.json")} == files
    assert second.numbers["candidates"] == first.numbers["candidates"]
    other = ddcore.run_study(study(**kept, validation=0.3), tmp_path / "c")
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2 * len(files), "other data, other results"
    assert other.numbers["candidates"] != first.numbers["candidates"]
    next(iter(files)).write_text("{")
    with pytest.raises(dd.CasesFailed, match="is damaged"):
        ddcore.run_study(study(**kept, draws=9), tmp_path / "d")


def test_accuracies_of_a_table_are_not_trained_for(tmp_path):
    names = [candidate.name for candidate in SMALL.candidates()]
    table = tmp_path / "table.json"
    table.write_text(json.dumps({name: 50.0 + i for i, name in enumerate(names)}))
    plan = study(proxies=(Condensed("random", 1),), seeds=(0,))
    plan = replace(plan, space=replace(SMALL, table=str(table)))
    told = ddcore.run_study(plan, tmp_path / "study").numbers
    assert [c["name"] for c in told["candidates"]] == names[::-1]
    assert told["full"]["seconds"] == 0
    assert not list((tmp_path / "study" / "cases").glob("in_full*"))


def test_a_set_that_was_made_before_is_a_proxy(tmp_path):
    data = ddcore.load("digits")
    path = ddcore.distill(ddcore.recipe("random", ipc=1), data).save(tmp_path / "mine.safetensors")
    told = ddcore.run_study(study(proxies=(Stored(str(path)),), seeds=(0,)), tmp_path / "study")
    assert told.rows[0][0] == "mine"
    other = replace(ddcore.load_distilled(path), data=replace(data.card, name="others", class_names=()))
    assert other.data.shape == data.card.shape
    x = torch.rand(40, 1, 8, 8)
    small = ddcore.RealData.of("small", (x, np.arange(40) % 10), (x, np.arange(40) % 10))
    with pytest.raises(RecipeRefused, match="Name the data that it was made for"):
        Stored(str(path)).check(small, ddcore.Host())


def test_a_set_with_an_order_is_replayed_in_it(tmp_path):
    proxy = Condensed("dd", 1, {"iterations": 1, "network": {"width": 4}, "objective": {"steps": 4}}, replay=True)
    told = ddcore.run_study(study(proxies=(proxy,), seeds=(0,)), tmp_path)
    assert [tuple(row[:2]) for row in told.rows] == [("dd, 1 per class, replayed", "4")]


@dataclass(frozen=True)
class Fragile(dd.NetworkPlan):
    """It cannot be built, cannot be trained, or diverges."""

    how: str = "built"

    def build(self, card):
        if self.how == "built":
            raise ValueError("it was never meant to be")
        return dd.ModuleNetwork(lambda: Breaking(self.how, card))


class Breaking(torch.nn.Module):
    def __init__(self, how, card):
        super().__init__()
        self.how, self.head = how, torch.nn.Linear(card.shape[1] ** 2, card.classes)

    def forward(self, x):
        if self.how == "memory" and len(x) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return self.head(x.flatten(1)) * (float("nan") if self.how == "diverges" and len(x) > 8 else 1)


def test_a_candidate_that_fails_is_recorded_and_the_others_are_not_touched(tmp_path):
    data = ddcore.load("digits")
    made = Whole().make(data, 0, tmp_path, ddcore.Host(), "cpu")
    whole = [Candidate("whole", dd.ConvNet(width=4, depth=1)), Candidate("also", dd.ConvNet(width=4, depth=2))]
    broken = [Candidate(how, Fragile(how)) for how in ("built", "memory", "diverges")]
    trial = made.trial(QUICK, data.test, data.card, "cpu")
    results = trial.run([whole[0], *broken, whole[1]], [0, 1], Kept(tmp_path / "kept"))
    failed = {name: result.failed for (name, seed), result in results.items() if not seed}
    assert failed == {
        "whole": None,
        "also": None,
        "built": "it was never meant to be",
        "memory": "out of memory",
        "diverges": "it diverged",
    }
    assert all((result.accuracy == 0) == bool(result.failed) for result in results.values())
    alone = trial.run(whole, [0, 1], Kept(tmp_path / "others"))
    for net, result in alone.items():
        assert result.accuracy == pytest.approx(results[net].accuracy, abs=1e-3)


def test_where_a_lot_fails_its_nets_are_tried_one_by_one(tmp_path, monkeypatch):
    data = ddcore.load("digits")
    trial = Whole().make(data, 0, tmp_path, ddcore.Host(), "cpu").trial(QUICK, data.test, data.card, "cpu")
    trained, sizes = Trial._trained, []

    def scarce(self, lot):
        sizes.append(len(lot))
        if len(lot) > 1:
            raise torch.OutOfMemoryError("too many at once")
        return trained(self, lot)

    monkeypatch.setattr(Trial, "_trained", scarce)
    results = trial.run([Candidate("one", dd.ConvNet(width=4, depth=1))], [0, 1, 2], Kept(tmp_path / "kept"))
    assert sizes == [3, 1, 1, 1]
    assert not any(result.failed for result in results.values())


# --- what is made of the numbers -------------------------------------------------------------------------


def standing(label, accuracies, seconds, condensing=0.0, early=False, failed=()):
    results = [
        {
            "accuracy": a,
            "training": seconds / len(accuracies),
            "measuring": 0.0,
            "failed": "gone" if i in failed else None,
        }
        for i, a in enumerate(accuracies)
    ]
    return Standing(label, 8, 100, condensing, [results, results], early)


NAMES = [f"n{i}" for i in range(10)]
RESULTS = {"8": {"0": [{"training": 2.0, "measuring": 1.0}, {"training": 3.0, "measuring": 1.0}]}}
CASES = [{"condensing": 1.0, "found": RESULTS, "wall": 10.0}]
TRUTH = Truth(NAMES, np.arange(10.0)[None].repeat(2, 0) + 80, {}, 5.0)


def test_equal_cost_is_between_two_lengths_of_early_stopping():
    short = standing("T", [0.0] * 9 + [-1], 1.0, early=True)  # chooses all but the best: a regret of 5
    long = standing("T", range(10), 100.0, early=True)  # chooses the best: none
    proxy = standing("S", [0.0] * 8 + [1, 0], 1.0, condensing=90.0)  # chooses the second: 1
    early = [Ranked.of(each, TRUTH, 10) for each in (short, long)]
    mine = Ranked.of(proxy, TRUTH, 10)
    assert [mine.standing.seconds(n) for n in (1, 9)] == [91, 11]
    assert mine.estimates["regret"] == 1
    assert lead(mine, early, "regret", 10).seconds == 10
    assert lead(mine, early, "regret", 10).estimate == pytest.approx(1 - (5 + 0) / 2), "half way, by the logarithm"
    assert lead(mine, early, "regret", 10**9).estimate == pytest.approx(1 - 5)
    assert lead(replace(mine, standing=replace(proxy, condensing=1e9)), early, "regret", 1).estimate == 1


def test_failures_are_named_and_counted():
    scores = [0.0, *range(1, 10)]
    told = finding(
        replace(TRUTH, failed={"n3": "out of memory"}),
        [standing("T", scores, 1.0, early=True), standing("S", scores, 1.0, failed={0})],
        CASES,
        10,
    )
    assert "Failed in full and ranked last: 1, such as n3 (out of memory)." in told.says
    assert "Failed S, 8 steps and ranked last: 1, such as n0 (gone)." in told.says
    assert told.numbers["proxies"][1]["failed"] == {"n0": "gone"}


def test_the_verdict_says_whether_a_proxy_is_worth_its_cost():
    truth = Truth([f"n{i}" for i in range(60)], np.arange(60.0)[None].repeat(2, 0), {}, 5.0)
    truly, other = list(range(60)), [*range(40), *reversed(range(40, 60))]
    better = [standing("T", other, 1.0, early=True), standing("S", truly, 1.0)]
    worse = [standing("T", truly, 1.0, early=True), standing("S", other, 1.0)]
    assert "S, 8 steps is ahead of early stopping at equal total cost" in finding(truth, better, CASES, 50).says
    assert "S, 8 steps is behind early stopping at equal total cost" in finding(truth, worse, CASES, 50).says


def test_the_parts_of_the_wall_time():
    assert share_accounted(CASES) == 0.8


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"proxies": ()}, "proxies is empty: the study needs at least one"),
        ({"lengths": ()}, "lengths is empty"),
        ({"seeds": (1, 1)}, r"seeds = \[1, 1\]: name each once"),
        ({"proxies": (Whole(), Whole())}, "two proxies have the same name"),
        ({"full": Protocol(lr=(0.1, 0.2))}, "full.lr holds several rates"),
    ],
)
def test_what_cannot_be_is_refused(fields, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        replace(study(), **fields)


def test_a_proxy_that_cannot_be_made_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(RecipeRefused, match="needs more real images"):
        ddcore.run_study(study(proxies=(Condensed("random", 50),)), tmp_path)
    with pytest.raises(dd.UnknownName, match="no method named 'dmm'"):
        ddcore.run_study(study(proxies=(Condensed("dmm"),)), tmp_path)
    assert not list(tmp_path.rglob("case.json"))
