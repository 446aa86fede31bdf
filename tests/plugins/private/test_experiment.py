"""A private run from end to end: its certificate, and what it does not look at."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore.cli import app
from ddcore.gate.record import SpendRecord, Told
from ddcore.store import Store

SMALL = [
    *("--iterations", "2", "--set", "network.width=4", "--set", "objective.real=8"),
    *("--networks", "mlp", "--repeats", "1"),
]


def distil(folder, *words):
    return CliRunner().invoke(app, ["distill", *words, "--data", "digits", *SMALL, "--out", str(folder)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private") / "run"
    done = distil(folder, "ndpdc", "--ipc", "1", "--set", "plugins.private.epsilon=5")
    assert done.exit_code == 0, done.output
    return folder


def test_the_certificate_stands_in_the_artefact_and_in_the_report(finished):
    certificate = ddcore.load_distilled(finished / "distilled.safetensors").facts["privacy"]
    assert 4.5 < certificate["epsilon"] <= 5.0 == certificate["budget"]
    assert certificate["epsilon_by_rdp"] >= certificate["epsilon"]
    assert (certificate["requests"], certificate["delta"]) == (2, 1e-5)
    assert certificate["neighbouring"] == "one item added or removed"
    assert certificate["sampling_rates"] == [pytest.approx(8 / 139, rel=0.02)]
    assert "class counts" in certificate["public"]
    report = (finished / "report.md").read_text()
    assert "## Privacy" in report
    assert f"| epsilon | {certificate['epsilon']:.6g} |" in report
    assert (
        "| not covered | how long the run took and how much memory it needed, other runs on the same data |" in report
    )


def test_nothing_looks_at_the_real_set_past_the_gate_unless_asked(finished, tmp_path):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["baselines"] == {}
    assert metrics["uncovered"] == []
    words = ["ndpdc", "--ipc", "1", "--baselines", "random", "--validation", "0.1"]
    done = distil(tmp_path / "asked", *words)
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "asked" / "metrics.json").read_text())
    assert metrics["uncovered"] == ["random", "the validation split"]
    sentence = "past its gate, so no certificate covers it: random, the validation split."
    assert sentence in (tmp_path / "asked" / "report.md").read_text()


def test_nothing_that_was_measured_of_it_is_kept_for_others(tmp_path, monkeypatch):
    monkeypatch.setenv("DDCORE_CACHE", str(tmp_path / "cache"))
    assert distil(tmp_path / "run", "ndpdc", "--baselines", "random").exit_code == 0
    assert not (tmp_path / "cache").exists()


def test_a_plan_takes_no_item_of_it(tmp_path, monkeypatch):
    real, taken, take = ddcore.load("digits").train.content, [], Store.take

    def watched(self, rows):
        taken.append(self.content)
        return take(self, rows)

    monkeypatch.setattr(Store, "take", watched)
    done = distil(tmp_path / "run", "ndpdc", "--plan", "--baselines", "whole")
    assert done.exit_code == 0, done.output
    assert "through the gate private_gate" in " ".join(done.output.split())
    assert taken and real not in taken
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_guard_says_so(tmp_path):
    bare = ["plugins.private.epsilon=inf", "plugins.private.noise_multiplier=0.0", "plugins.private.signals=1"]
    done = distil(tmp_path / "bare", "ndpdc", *(word for option in bare for word in ("--set", option)))
    assert done.exit_code == 0, done.output
    certificate = ddcore.load_distilled(tmp_path / "bare" / "distilled.safetensors").facts["privacy"]
    assert (certificate["epsilon"], certificate["budget"], certificate["requests"]) == ("infinite", "infinite", 1)
    assert "| epsilon | infinite |" in (tmp_path / "bare" / "report.md").read_text()


def test_its_recipe_file_makes_a_private_run_again(finished, tmp_path):
    out = tmp_path / "again"
    done = CliRunner().invoke(app, ["run", str(finished / "recipe.toml"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    again, first = (ddcore.load_distilled(f / "distilled.safetensors") for f in (out, finished))
    assert again.facts["privacy"] == first.facts["privacy"]
    assert not again.inputs.equal(first.inputs), "the noise is another"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dm", "--set", "plugins.private.epsilon=8"], "Start from noise"),
        (["ndpdc", "--set", "plugins.private.delta=0.01"], "would allow one of digits"),
        (["ndpdc", "--set", "plugins.private.noise_multiplier=0.01"], "The allowance is zero"),
    ],
)
def test_a_refusal_leaves_nothing_behind(tmp_path, words, sentence):
    done = distil(tmp_path / "out", *words)
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


# --- what has been told stays told -----------------------------------------------------------------------

STAYS = "What a private run has told stays told, so it cannot begin anew here: name a new folder"


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return ddcore.Folder(tmp_path / "run")


def said(done):
    return " ".join(done.output.split())


def test_a_private_run_leaves_the_record_of_what_it_told(finished):
    lines = [json.loads(line) for line in (finished / "spent.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2]
    certificate = ddcore.load_distilled(finished / "distilled.safetensors").facts["privacy"]
    (kind,) = lines[-1]["spent"]["ledger"]["history"]
    assert kind == [certificate["noise_multiplier"], *certificate["sampling_rates"], 2]


def checkpoint_removed(place):
    shutil.rmtree(place.state.parent)


def checkpoint_damaged(place):
    place.state.write_bytes(place.state.read_bytes()[:-40])


def record_removed(place):
    place.spent.unlink()


def record_damaged(place):
    place.spent.write_text(place.spent.read_text().replace('"number": 1', '"number": 2'))


def record_shortened(place):
    place.spent.write_bytes(b"".join(place.spent.read_bytes().splitlines(keepends=True)[:-1]))


def record_emptied(place):
    place.spent.write_bytes(b"")


def record_of_another(place):
    record = SpendRecord(place.spent)
    lines = place.spent.read_bytes()
    record.begin()
    for _ in range(lines.count(b"\n") - 1):
        record.append(Told("", "", {}))


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (checkpoint_removed, "run.pt is missing."),
        (checkpoint_damaged, "run.pt is damaged"),
        (record_removed, "spent.jsonl, the record of what this private run has told, is missing."),
        (record_damaged, "is damaged in line 2."),
        (record_shortened, "ends after 1 requests, and the checkpoint was made after 2."),
        (record_emptied, "is damaged in line 1."),
        (record_of_another, "is the record of another run than the checkpoint."),
    ],
)
def test_a_run_that_cannot_know_what_was_spent_does_not_go_on(copied, harm, cause):
    harm(copied)
    before = {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()}
    done = CliRunner().invoke(app, ["resume", str(copied.path)])
    assert done.exit_code == 2
    assert cause in said(done)
    assert STAYS in said(done)
    assert "Delete" not in said(done)
    assert {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [["ndpdc", "--ipc", "1"], ["dm", "--ipc", "1"]])
def test_a_folder_with_a_record_takes_no_new_run(copied, words):
    for path in copied.path.rglob("*"):
        if path.is_file() and path != copied.spent:
            path.unlink()
    done = distil(copied.path, *words)
    assert done.exit_code == 2
    assert STAYS in said(done)
    assert not copied.recipe.exists()


def test_a_record_of_nothing_told_is_begun_again(tmp_path):
    folder = ddcore.Folder(tmp_path / "run")
    os.mkdir(folder.path)
    SpendRecord(folder.spent).begin()
    done = distil(folder.path, "ndpdc", "--ipc", "1")
    assert done.exit_code == 0, done.output
    assert ddcore.load_distilled(folder.distilled).facts["privacy"]["requests"] == 2


def test_a_finished_private_run_goes_on_without_telling_anything(copied):
    before, record = ddcore.load_distilled(copied.distilled), copied.spent.read_bytes()
    done = CliRunner().invoke(app, ["resume", str(copied.path)])
    assert done.exit_code == 0, done.output
    after = ddcore.load_distilled(copied.distilled)
    assert after.inputs.equal(before.inputs)
    assert after.facts["privacy"] == before.facts["privacy"]
    assert copied.spent.read_bytes() == record
