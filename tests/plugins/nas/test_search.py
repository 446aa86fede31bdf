"""The search: each strategy goes through the space as it says, and what it finds is trained in full."""

import sys

import optuna
import pytest
from ddcore_nas import Condensed, ConvNets, Evolution, Halving, Search, Whole

import ddcore
from ddcore import Protocol, RecipeRefused

QUICK = Protocol(steps=2, batch=32, augment=None)
SMALL = ConvNets(widths=(4,), depths=(1, 2), activations=("sigmoid", "relu"), norms=("none", "layer"))


def study(*strategies, **fields):
    return Search(items=200, space=SMALL, training=QUICK, full=QUICK, strategies=strategies, **fields)


def test_it_answers_the_architecture_its_accuracies_and_the_cost(tmp_path):
    halving, evolution = Halving(6, (1, 2, 4), 2), Evolution(6, 1, 3, 2)
    told = ddcore.run_study(study(halving, evolution, proxies=(Whole(), Condensed("random", 1))), tmp_path)
    assert [row[0] for row in told.rows] == [
        f"{strategy} on {proxy}"
        for proxy in ("T, stopped early", "random, 1 per class")
        for strategy in ("halving", "evolution")
    ]
    assert all(len(row) == len(told.head) for row in told.rows)
    names = {candidate.name for candidate in SMALL.candidates()}
    for found in told.numbers["searches"]:
        assert {*found["found"]} <= names
        assert found["accuracy"]["mean"] > 0
        assert found["searching"] > 0
        assert 0 < found["architectures"] <= 6


def test_the_same_seed_finds_the_same(tmp_path):
    plan = study(Evolution(8, 1, 3, 2), proxies=(Whole(),))
    first, second = (ddcore.run_study(plan, tmp_path / name).numbers["searches"][0] for name in "ab")
    assert (first["found"], first["proxy"]) == (second["found"], second["proxy"])


def optimised(strategy, value, trials):
    choices = {"a": (0, 1, 2, 3), "b": ("x", "y", "z"), "c": (7,)}
    tried = []

    def objective(trial):
        tried.append({name: trial.suggest_categorical(name, options) for name, options in choices.items()})
        return value(tried[-1])

    run = optuna.create_study(direction="maximize", sampler=strategy.sampler(0), pruner=strategy.pruner())
    run.optimize(objective, n_trials=trials)
    return tried


def test_evolution_changes_one_decision_of_one_of_the_youngest():
    tried = optimised(Evolution(population=4, sample=2), lambda chosen: chosen["a"] + (chosen["b"] == "y"), 40)
    for i, child in enumerate(tried[4:], 4):
        apart = [sum(child[name] != parent[name] for name in child) for parent in tried[i - 4 : i]]
        assert 1 in apart, i
    assert {"a": 3, "b": "y", "c": 7} in tried[4:]


def test_evolution_takes_the_better_of_those_it_draws():
    """With as many drawn as there are, always the best of the youngest."""
    value = {"x": 0, "y": 1, "z": 2}
    tried = optimised(Evolution(population=3, sample=3), lambda chosen: 10 * chosen["a"] + value[chosen["b"]], 30)
    for i, child in enumerate(tried[3:], 3):
        best = max(tried[i - 3 : i], key=lambda chosen: 10 * chosen["a"] + value[chosen["b"]])
        assert sum(child[name] != best[name] for name in child) == 1


def test_halving_gives_most_up_after_the_first_length(tmp_path):
    ddcore.run_study(study(Halving(9, (1, 2, 4), 3), proxies=(Whole(),)), tmp_path)
    (folder,) = (tmp_path / "cases").iterdir()
    trained = len(list((folder / "trainings").glob("*.json")))
    assert trained < 9 * 3, "not all were trained for all lengths"


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (lambda: Halving(reduction=1), "at least one in 2 must be given up"),
        (lambda: Halving(lengths=(8, 4)), r"lengths = \[8, 4\]: give at least one, ascending"),
        (lambda: Evolution(population=2, sample=5), "it must be at most population = 2"),
        (lambda: Search(strategies=()), "strategies is empty"),
    ],
)
def test_what_cannot_be_is_refused(part, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        part()


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecipeRefused, match=r"Try: pip install 'ddcore-nas\[search\]'"):
        ddcore.run_study(study(Halving()), tmp_path)
