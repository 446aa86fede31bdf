"""The study: what it runs, keeps and says."""

import json
from dataclasses import dataclass, replace

import pytest
from ddcore_robust import Linf, Pgd, Robustness

from ddcore import ConvNet, Protocol, RecipeRefused, run_study
from ddcore import plugin as dd


@pytest.fixture
def study():
    network = ConvNet(width=4, depth=2)
    protocol = Protocol(steps=3, batch=16, repeats=2, networks=(network,))
    short = {"iterations": 1, "network.width": 4, "network.depth": 2}
    return Robustness(
        sets=("random", "dm", "robust_ridge", "whole"),
        ipc=1,
        overrides={"dm": {**short, "objective.real": 4}, "robust_ridge": {**short, "objective.real": 4}},
        protocol=protocol,
        whole=protocol,
        steps=2,
        epsilons=(0.1, 0.3),
        radii=(1.0,),
        items=8,
        seeds=(0, 1),
    )


def test_it_runs_goes_on_and_says_what_it_found(study, host, tmp_path, monkeypatch):
    first = replace(study, sets=("dm",), seeds=(0,))
    run_study(first, tmp_path, host=host)
    monkeypatch.setattr(type(host), "distill", _not_twice(type(host).distill))
    found = run_study(study, tmp_path, host=host)
    assert [row[:2] for row in found.rows] == [
        [name, way] for name in study.sets for way in ("standard", "adversarial")
    ]
    for said in (
        "L-infinity ball of epsilon 0.1",
        "After standard training robust_ridge is",
        "points from dm under PGD-20 (Welch's t over 2 and 2 seeds",
        "Adversarial training on dm reaches",
        "with the distilling",
    ):
        assert said in found.says
    numbers = json.loads((tmp_path / "finding.json").read_text())["sets"]["robust_ridge, standard"]
    assert numbers["Linf 0.3"]["mean"] <= numbers["clean"]["mean"]
    assert {"robustness_ratio", "attack_efficiency", "training_seconds", "L2 1"} <= numbers.keys()
    assert (tmp_path / "epsilon.png").stat().st_size > 5000


def _not_twice(distill):
    def once(self, recipe, *given, **named):
        assert (recipe.name, recipe.seed) != ("dm", 0), "it has been distilled"
        return distill(self, recipe, *given, **named)

    return once


def test_a_stopped_case_keeps_its_set(study, host, tmp_path, monkeypatch):
    one = replace(study, sets=("dm",), seeds=(0,))
    monkeypatch.setattr("ddcore_robust.study.Against", None)  # which fails once the set has been made
    with pytest.raises(dd.CasesFailed):
        run_study(one, tmp_path, host=host)
    monkeypatch.undo()
    monkeypatch.setattr(type(host), "distill", lambda *_: pytest.fail("distilled twice"))
    assert run_study(one, tmp_path, host=host).rows


def test_methods_are_told_the_epsilon(study, host):
    recipes = {case.label: case.description["recipe"] for case in replace(study, epsilon=0.3).cases(host)[:3]}
    assert recipes["robust_ridge"].views[0].attack == Pgd(Linf(0.3), 10)
    assert recipes["dm"].views == ()


def test_the_same_networks_come_out_of_the_same_seed(study, host, tmp_path):
    one = replace(study, sets=("random",), seeds=(3,))
    runs = [run_study(one, tmp_path / name, host=host).numbers["sets"] for name in "ab"]
    for way in runs[0]:
        assert all(
            runs[0][way][name] == runs[1][way][name]
            for name in runs[0][way]
            if not name.endswith(("seconds", "efficiency"))
        )


@dataclass(frozen=True)
class Floats(dd.DataSet):
    """Digits as floats."""

    def load(self):
        data = dd.load("digits")
        batch = data.train.take(data.train.order.sort().indices)
        return dd.RealData.of("floats", (batch.inputs, batch.targets), None, mean=(0.3,), std=(0.3,))


def test_refusals(study, host, tmp_path):
    with pytest.raises(RecipeRefused, match="sets is empty: the study needs at least one"):
        replace(study, sets=())
    with pytest.raises(dd.CasesFailed, match="came as floats, whose range is not known"):
        run_study(replace(study, data=Floats(), sets=("dm",), seeds=(0,)), tmp_path, host=host)
    assert not list(tmp_path.rglob("distilled.safetensors")), "nothing was distilled"
    with pytest.raises(dd.UnknownName, match="no method named 'tri_leve'. Did you mean tri_level"):
        run_study(replace(study, sets=("tri_leve",)), tmp_path / "b", host=host)
