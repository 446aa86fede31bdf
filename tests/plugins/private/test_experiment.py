"""A private run from end to end: its certificate, and what it does not look at."""

import json

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore.cli import app

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
    assert "| not covered | how long the run took and how much memory it needed, other runs on the same data |" in report


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
