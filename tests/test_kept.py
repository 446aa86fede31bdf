"""Values of trained nets that are kept: what they follow from, and what happens to a folder that cannot be used."""

import os
from dataclasses import fields, replace

import pytest

import ddcore
from ddcore import Experiment, Folder, Host, Protocol, Settings
from ddcore.augment.siamese import Siamese
from ddcore.evaluation import training as fresh
from ddcore.evaluation.calibration import CalibrationError
from ddcore.evaluation.kept import Kept, cache_folder, code_of
from ddcore.evaluation.scores import evaluate
from ddcore.evaluation.training_set import Preprocessed
from ddcore.experiment.evaluating import kept_for
from ddcore.networks.mlp import MLP
from ddcore.optimisers import Sgd
from ddcore.preprocess import Standardise
from ddcore.schedules import Half

PROTOCOL = Protocol(steps=3, batch=8, repeats=2, networks=(MLP(width=4),))


@pytest.fixture
def trained(monkeypatch):
    """The numbers of the nets that have been trained so far."""
    numbers, train = [], fresh.train

    def counted(*given, **more):
        numbers.extend(given[5])
        return train(*given, **more)

    monkeypatch.setattr(fresh, "train", counted)
    return numbers


@pytest.fixture
def evaluated(tiny, tmp_path):
    preprocess = Standardise().start(tiny.card, dict)

    def scores(protocol=PROTOCOL, kept=None, **changes):
        kept = kept or Kept(tmp_path / "cache", {"set": "of the test"})
        return evaluate(Preprocessed(tiny.train, preprocess), tiny, preprocess, protocol, kept=kept, **changes)

    return scores


def test_no_net_is_trained_twice_for_one_value(evaluated, trained, tmp_path):
    once = evaluated()
    kept = Kept(tmp_path / "cache", {"set": "of the test"})
    assert evaluated(kept=kept) == once
    assert trained == [0, 1] and len(kept.read) == 2
    assert evaluated(replace(PROTOCOL, repeats=3))["accuracy"]["mlp"].values[:2] == once["accuracy"]["mlp"].values
    assert trained == [0, 1, 0, 1, 2]


CHANGES = {
    **{"steps": {"steps": 4}, "epochs": {"steps": None, "epochs": 1}, "batch": {"batch": 9}},
    **{"optimiser": {"optimiser": Sgd()}, "lr": {"lr": (1e-3,)}, "learned_lr": {"learned_lr": True}},
    **{"replay": {"replay": True}, "schedule": {"schedule": Half()}, "augment": {"augment": Siamese()}},
    **{"cutmix": {"cutmix": 0.5}, "temperature": {"temperature": 2.0}, "networks": {"networks": (MLP(width=5),)}},
    **{"hard": {"hard": 0.5, "temperature": 2.0}, "measures": {"measures": (CalibrationError(),)}},
}
OF_NO_NET = {"repeats", "chosen_by", "estimators"}


def test_every_field_of_a_protocol_is_tried_here():
    assert CHANGES.keys() | OF_NO_NET == {f.name for f in fields(Protocol)}


@pytest.mark.parametrize("field", CHANGES)
def test_nets_are_trained_anew_under_another_protocol(field, evaluated, trained):
    evaluated()
    evaluated(replace(PROTOCOL, **CHANGES[field]))
    assert trained == [0, 1, 0, 1]


def test_nets_are_trained_anew_for_another_seed_set_or_test(evaluated, trained, tmp_path, tiny):
    evaluated()
    evaluated(seed=1)
    evaluated(kept=Kept(tmp_path / "cache", {"set": "another"}))
    preprocess = Standardise().start(tiny.card, dict)
    other = replace(tiny, test=tiny.train)
    kept = Kept(tmp_path / "cache", {"set": "of the test"})
    evaluate(Preprocessed(tiny.train, preprocess), other, preprocess, PROTOCOL, kept=kept)
    assert trained == [0, 1] * 4


def test_a_chosen_rate_is_chosen_again(evaluated, trained, tiny, tmp_path):
    data, protocol = tiny.with_validation(0.3, 0), replace(PROTOCOL, lr=(1e-4, 1e-2))
    preprocess = Standardise().start(data.card, dict)
    kept = Kept(tmp_path / "cache")
    given = (Preprocessed(data.train, preprocess), data, preprocess, protocol)
    assert evaluate(*given, kept=kept) == evaluate(*given, kept=kept) == evaluate(*given)
    assert trained == [0, 1] * 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"0": "much", "1": 3}', b'{"0": 50.0}'])
def test_a_damaged_file_is_made_anew(damage, evaluated, trained, tmp_path):
    once = evaluated()
    (file,) = (tmp_path / "cache" / "nets").iterdir()
    file.write_bytes(damage)
    assert evaluated() == once == evaluated()
    assert trained == [0, 1, 0, 1]


def test_a_diverged_net_is_kept_as_one(tmp_path):
    kept = Kept(tmp_path)
    first = kept.values([0, 1], dict, lambda: [float("nan"), 2.0])
    again = kept.values([0, 1], dict, lambda: pytest.fail("found again"))
    assert str(first) == str(again) == "[nan, 2.0]"


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(evaluated, trained, tmp_path):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        evaluated(kept=Kept(tmp_path / "file"))
    assert trained == [0, 1, 0, 1]


def test_what_only_a_program_can_hold_is_not_kept(tmp_path):
    kept = Kept(tmp_path, {"network": lambda: None})
    assert kept.values([0], dict, lambda: [1.0]) == [1.0]
    assert not list(tmp_path.iterdir())


def test_an_experiment_reads_what_another_has_measured_of_the_baselines(host, small, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("DDCORE_CACHE", str(tmp_path / "cache"))
    settings = Settings(ddcore.datasets.digits.Digits(), PROTOCOL, ("random", "whole"))

    def run(name, seed=0):
        recipe = small(host.recipe("dm", ipc=1, iterations=1, overrides={"seed": seed}))
        return ddcore.run_experiment(Experiment(recipe, settings), tmp_path / name)

    one, (again, other) = run("one"), (run("again"), run("other", seed=1))
    assert one["kept"] == 0 and again["kept"] == 3 * 2 and other["kept"] == 0
    assert one["scores"] == again["scores"] and one["baselines"] == again["baselines"]
    assert "networks not trained again" in Folder(tmp_path / "again").report.read_text()
    assert ddcore.evaluate_saved(tmp_path / "one", settings)["kept"] == 3 * 2


def test_the_folder_is_that_of_the_variable_and_empty_keeps_nothing(monkeypatch, tmp_path):
    assert os.environ["DDCORE_CACHE"] == "" and cache_folder() is None
    monkeypatch.setenv("DDCORE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DDCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ddcore"


def test_code_is_known_by_its_source(tmp_path, monkeypatch):
    (tmp_path / "own_measure.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import own_measure

    before = code_of({"own_measure": own_measure})
    assert code_of({"own_measure": own_measure}) == before != code_of({"ddcore": ddcore})
    (tmp_path / "own_measure.py").write_text("A = 2\n")
    assert code_of({"own_measure": own_measure}) != before
    own_measure.__file__ = None
    assert code_of({"own_measure": own_measure}) is None
    assert Host().code == Host().code


def test_of_a_guarded_run_nothing_is_kept_wherever_it_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("DDCORE_CACHE", str(tmp_path))
    recipe = Host().recipe("random")
    assert kept_for(recipe, Host()).folder is not None
    monkeypatch.setattr(type(recipe.gate), "guards", True)
    assert kept_for(recipe, Host()).folder is None
