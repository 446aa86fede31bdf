"""The forecast of an experiment: its stages, fits and disclosures; nothing is written."""

import os
import time
from dataclasses import replace

import pytest

from ddcore import Experiment, Protocol, RecipeRefused, Settings
from ddcore.datasets.digits import Digits
from ddcore.experiment.forecast import TIMED, duration, forecast
from ddcore.gate.open import OpenGate
from ddcore.networks.mlp import MLP

SETTINGS = Settings(Digits(), Protocol(steps=40, repeats=3, networks=(MLP(width=4),)), ("whole",))


@pytest.fixture
def planned(host, small):
    def plan(method, settings=SETTINGS, overrides=None, **given):
        recipe = small(host.recipe(method, ipc=1, iterations=50, overrides=overrides or {}))
        return forecast(Experiment(recipe, settings), **given)

    return plan


def test_stages_are_those_of_the_run(planned):
    told = planned("dm")
    assert [(s.name, s.timed, s.of) for s in told.stages] == [
        ("distilling", TIMED, 50),
        ("evaluating distilled on mlp", TIMED, 3 * 40),
        ("evaluating whole on mlp", TIMED, 3 * 40),
    ]
    assert all(s.seconds > 0 for s in told.stages)
    assert told.seconds == sum(s.seconds for s in told.stages)
    assert (told.nbytes, told.asks, told.gate) == (10250, ("examples", "features"), "open")
    assert 0 < told.peak_mib < told.room_mib


@pytest.mark.parametrize(
    ("method", "fit", "times"),
    [("mtt", "policy.fit", 5), ("haba", "policy.policy.fit", 5), ("sre2l", "policy.fit", 1), ("frepo", None, 0)],
)
def test_a_fit_is_timed_in_short_and_told_in_full(method, fit, times, planned):
    steps = {f"{fit}.steps": 700, f"{fit}.epochs": "none"} if fit else {}
    of = {s.name: s.of for s in planned(method, overrides=steps).stages if "training" in s.name}
    assert list(of.values()) == [700 * times] * bool(times)


def test_what_is_fitted_within_each_step_counts_in_each(planned, monkeypatch):
    """IDC trains its network between two rounds, without a word; twenty fits as long make steps as much longer."""
    fit = OpenGate.fit

    def slow(self, draw, of, *more):
        time.sleep(0.002 * of.length(len(self.source.store)))
        return fit(self, draw, of, *more)

    monkeypatch.setattr(OpenGate, "fit", slow)
    short, long = (planned("idc", overrides={"policy.fit.steps": n}).stages[0].seconds for n in (8, 800))
    assert long > 10 * short


def test_what_takes_long_before_the_first_step_says_how_long(planned):
    with pytest.raises(RecipeRefused, match=r"Training the generator will take about .*--plan-seconds \d+"):
        planned("it_gan", seconds=0.0)


def test_nothing_is_written(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned("dm")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("method", "policy"), [("mtt", "policy"), ("haba", "policy.policy")])
def test_a_store_of_experts_is_left_alone_and_has_none_for_the_next_forecast(method, policy, planned, tmp_path):
    few = {f"{policy}.fit.epochs": "none", f"{policy}.fit.steps": 700, f"{policy}.store": str(tmp_path / "experts")}
    first, second = ([(s.name, s.of) for s in planned(method, overrides=few).stages] for _ in range(2))
    assert first == second and first[0][0].startswith("training expert")
    assert not (tmp_path / "experts").exists()


def test_a_store_that_the_run_could_not_have_is_refused(host, small, tmp_path):
    fit = {"policy.fit.epochs": "none", "policy.fit.steps": 20, "policy.experts": 1}

    def with_store(folder, **changes):
        return small(host.recipe("mtt", iterations=1, overrides={**fit, **changes, "policy.store": str(folder)}))

    host.distill(with_store(tmp_path), Digits().load())
    (buffer,) = tmp_path.iterdir()
    kept = sorted(buffer.iterdir())
    assert forecast(Experiment(with_store(buffer), SETTINGS), host=host).stages[0].of == 20
    with pytest.raises(RecipeRefused, match="another fit"):
        forecast(Experiment(with_store(buffer, **{"policy.fit.lr": 0.5}), SETTINGS), host=host)
    private = with_store(tmp_path, **{"synthetic.init": "noise", "plugins": {"private": {"requests": 40}}})
    with pytest.raises(RecipeRefused, match="leave store out"):
        forecast(Experiment(private, SETTINGS), host=host)
    assert [sorted(path.iterdir()) for path in tmp_path.iterdir()] == [kept]


def test_what_would_be_refused_is_refused(planned):
    with pytest.raises(RecipeRefused, match="validation"):
        planned("dm", replace(SETTINGS, protocol=replace(SETTINGS.protocol, lr=(0.1, 0.01))))


def test_a_memory_that_is_nearly_full_names_what_to_make_smaller(planned):
    told = planned("dm")
    assert not any("smaller" in sentence for sentence in told.sentences())
    full = replace(told, room_mib=told.peak_mib)
    assert "a smaller objective.real (now 4), network.width (now 4), synthetic.ipc (now 1)" in " ".join(
        full.sentences()
    )


def test_times_are_said_as_people_say_them():
    assert [duration(s) for s in (0.25, 42.0, 600.0, 7200.0)] == ["0.25 s", "42 s", "10 min", "2.0 h"]


def test_the_command_says_it_and_ends(program, tmp_path):
    small = ("--set", "network.width=4", "--set", "objective.real=4", "--repeats", 1, "--networks", "mlp")
    status, said = program("distill", "dm", "--plan", "--out", tmp_path / "none", *small).ended()
    assert status == 0 and "distilling" in said and "Of the real data the recipe asks" in said
    assert not (tmp_path / "none").exists()
