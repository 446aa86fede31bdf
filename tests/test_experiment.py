"""Whole experiments in real processes: their files, being killed, going on."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import ddcore
from ddcore import BadCheckpoint, Folder, Host, RecipeRefused
from ddcore.checkpoint import write_checkpoint
from ddcore.cli import app

SMALL = [
    *("--set", "network.width=4", "--set", "network.depth=2", "--set", "objective.real=4"),
    *("--repeats", "1", "--networks", "mlp", "--baselines", "random", "--checkpoint-seconds", "0"),
]


@pytest.fixture(scope="module")
def finished(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "deep" / "digits"
    status, said = program("distill", "dsa", "--iterations", 2, "--ipc", 2, "--out", folder, *SMALL).ended()
    assert status == 0, said
    return folder


def test_a_run_leaves_its_files(finished):
    assert sorted(os.listdir(finished)) == [
        *("checkpoint", "distilled.safetensors", "images.png", "metrics.json", "recipe.toml", "records.jsonl"),
        *("report.md", "trace.json"),
    ]
    metrics = json.loads(Folder(finished).metrics.read_text())
    assert metrics["bytes"] == 20 * (256 * 4 + 1)
    assert metrics["scores"]["accuracy"].keys() == {"mlp"}
    assert 0 < metrics["scores"]["accuracy"]["mlp"]["mean"] <= 100
    assert metrics["baselines"].keys() == {"random"}
    assert metrics["baseline_bytes"] == {"random": 20 * (256 + 1)}, "real pictures are counted as the bytes they are"
    assert (metrics["seed"], metrics["steps"], metrics["ipc"]) == (0, 2, 2)
    report = Folder(finished).report.read_text()
    assert f"| dsa (distilled) | {metrics['scores']['accuracy']['mlp']['mean']:.1f}" in report
    assert "@inproceedings{zhao2021dsa" in report


def test_its_recipe_file_makes_the_same_again(program, finished, tmp_path):
    again = tmp_path / "again"
    assert program("run", Folder(finished).recipe, "--out", again).ended()[0] == 0
    one, two = (load_file(Folder(folder).distilled) for folder in (finished, again))
    assert torch.equal(one["inputs"], two["inputs"])


def test_a_finished_run_resumed_changes_nothing(finished):
    before = load_file(Folder(finished).distilled)
    ddcore.resume(finished)
    assert torch.equal(load_file(Folder(finished).distilled)["inputs"], before["inputs"])


@pytest.mark.usefixtures("own_seeds")
def test_an_experiment_is_begun_gone_on_with_or_read(finished, tmp_path, monkeypatch):
    place = Folder(tmp_path / "run")
    experiment = Folder(finished).experiment(ddcore.Host().catalogue)
    begun = ddcore.run_or_resume(experiment, place.path)
    assert begun["scores"]["accuracy"] == json.loads(Folder(finished).metrics.read_text())["scores"]["accuracy"]
    place.metrics.unlink()
    gone_on = ddcore.run_or_resume(experiment, place.path)
    assert gone_on["scores"]["accuracy"] == begun["scores"]["accuracy"]
    monkeypatch.setattr("ddcore.experiment.running._run", lambda *_, **__: pytest.fail("done again"))
    assert ddcore.run_or_resume(experiment, place.path) == gone_on


def test_a_folder_of_another_experiment_is_refused_and_says_what_differs(finished, tmp_path):
    experiment = Folder(finished).experiment(ddcore.Host().catalogue)
    recipe = replace(experiment.recipe, iterations=3, network=ddcore.MLP())
    settings = replace(experiment.settings, validation=0.1)
    for other in (replace(experiment, recipe=recipe), replace(experiment, settings=settings)):
        before = Folder(finished).metrics.read_bytes()
        with pytest.raises(RecipeRefused, match="holds another experiment: .*Name another folder") as refused:
            ddcore.run_or_resume(other, finished)
        assert Folder(finished).metrics.read_bytes() == before
        if other.recipe is recipe:
            assert "iterations is 2 there and 3 here" in str(refused.value)
            assert "network.name is convnet there and mlp here" in str(refused.value)
        else:
            assert "experiment.validation is none there and 0.1 here" in str(refused.value)


def test_a_damaged_checkpoint_is_refused_and_nothing_is_lost(finished, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    state = Folder(folder).state
    state.write_bytes(state.read_bytes()[:-40])
    with pytest.raises(BadCheckpoint, match=r"run\.pt is damaged"):
        ddcore.resume(folder)
    assert Folder(folder).distilled.exists()


def test_a_checkpoint_that_runs_code_is_refused(finished, tmp_path):
    import shutil

    folder, trace = tmp_path / "copy", tmp_path / "trace"
    shutil.copytree(finished, folder)

    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(trace),))

    write_checkpoint(Folder(folder).state, {"step": Hostile()}, private=False)
    with pytest.raises(BadCheckpoint, match="damaged: it holds more than tensors"):
        ddcore.resume(folder)
    assert not trace.exists()


def test_a_loss_that_diverges_stops_the_run_and_keeps_the_checkpoint(program, tmp_path):
    folder = tmp_path / "run"
    words = ["distill", "dm", "--iterations", 50, "--out", folder, *SMALL, "--set", "update.lr.inputs=1e30"]
    status, said = program(*words).ended()
    assert status == 2
    assert "The loss of dm is" in said
    assert "A smaller update.lr" in said
    assert Folder(folder).state.exists()
    state = torch.load(Folder(folder).state, weights_only=True)
    assert torch.isfinite(state["synthetic"]["carrier.pixels"]).all()


def test_a_recipe_under_a_name_of_its_own_is_concluded_and_cites_its_parts(host, small, tmp_path):
    recipe = replace(small(host.recipe("kip", iterations=1)), name="mine")
    protocol = ddcore.Protocol(steps=1, repeats=1, networks=(recipe.network,))
    settings = ddcore.Settings(ddcore.plugin.data_set(host.catalogue, "digits"), protocol, ())
    found = ddcore.run_or_resume(ddcore.Experiment(recipe, settings), tmp_path / "mine")
    assert found["method"] == "mine"
    assert found["seconds"]["distilling"] > 0
    assert len(found["cites"]) == len(recipe.papers())


@pytest.fixture
def conducted(host, small, tmp_path):
    """Concludes a small experiment on the digits in a folder of the test's."""

    def run_or_resume(recipe, **fields):
        protocol = ddcore.Protocol(steps=1, repeats=1, networks=(recipe.network,), **fields)
        settings = ddcore.Settings(ddcore.plugin.data_set(host.catalogue, "digits"), protocol, ())
        return ddcore.run_or_resume(ddcore.Experiment(recipe, settings), tmp_path / "run")

    return run_or_resume


def test_a_protocol_with_a_temperature_wants_a_set_that_teaches(host, small, tiny, conducted, tmp_path):
    plain = small(host.recipe("random"))
    with pytest.raises(RecipeRefused, match="at temperature 20, but the set brings neither a teacher nor.*labels.keep"):
        conducted(plain, temperature=20.0)
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeRefused, match="brings neither a teacher"):
        ddcore.evaluate(host.distill(plain, tiny), tiny, ddcore.Protocol(steps=1, temperature=20.0))
    taught = replace(plain, labels=ddcore.plugin.Taught(ddcore.Fit(steps=2), keep=True))
    assert conducted(taught, temperature=20.0)["bytes"] > 0


def test_a_run_that_breaks_at_once_leaves_nothing_behind(host, small, conducted, tmp_path, monkeypatch):
    monkeypatch.setattr(ddcore.Run, "start", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conducted(small(host.recipe("random")))
    assert not (tmp_path / "run").exists()


def late_failure(error):
    """A plugin whose wrapper fails when all is done, while ``broken`` says so."""
    broken = [True]

    @ddcore.hookimpl(wrapper=True)
    def ddcore_distill(run):
        distilled = yield
        if broken[0]:
            raise error("No thanks.")
        return distilled.with_facts(late=True)

    return broken, Host({"late": SimpleNamespace(ddcore_distill=ddcore_distill)})


@pytest.mark.parametrize("method", ["dm", "random"])
@pytest.mark.parametrize("error", [RecipeRefused, ZeroDivisionError])
def test_what_was_distilled_outlives_a_hook_that_fails_afterwards(tmp_path, method, error):
    broken, host = late_failure(error)
    fields = {"iterations": 2, "objective.real": 4} if method == "dm" else {}
    recipe = host.recipe(method, overrides={"network.width": 4, "network.depth": 2, "plugins.late.x": 1, **fields})
    protocol = ddcore.Protocol(steps=1, networks=(ddcore.MLP(width=8),), repeats=1)
    settings = ddcore.Settings(ddcore.plugin.data_set(host.catalogue, "digits"), protocol, ())
    folder = Folder(tmp_path / "run")
    with pytest.raises(error) as caught:
        ddcore.run_experiment(ddcore.Experiment(recipe, settings), folder.path, host=host)
    (note,) = caught.value.__notes__
    assert f"lies in {folder.distilled}" in note
    assert f"ddcore resume {folder.path}" in note
    kept = ddcore.load_distilled(folder.distilled)
    assert kept.facts["steps"] == recipe.iterations
    assert not folder.metrics.exists()
    broken[0] = False
    ddcore.resume(folder.path, host=host)
    made = ddcore.load_distilled(folder.distilled)
    assert torch.equal(made.inputs, kept.inputs)
    assert made.facts["late"] is True
    assert folder.metrics.exists()


def test_the_command_says_where_the_set_lies_when_a_hook_fails_afterwards(tmp_path, monkeypatch):
    _, host = late_failure(RecipeRefused)
    monkeypatch.setattr("ddcore.host.Host", lambda: host)
    words = ["distill", "dm", "--iterations", "1", "--out", tmp_path / "run", "--set", "plugins.late.x=1", *SMALL]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "Error: No thanks. The distilled set was finished before a plugin's hook failed, and lies in" in said
    assert "distilled.safetensors" in said
    assert len(ddcore.load_distilled(tmp_path / "run" / "distilled.safetensors")) == 10
