"""A plugin from outside the tree, used from the command line by the names of what it brings."""

import ast
import json
from pathlib import Path

import ddcore_outside
import pytest
from typer.testing import CliRunner

from ddcore import DistilledSet
from ddcore.cli import app

BRINGS = {"Margin", "brief", "Perceptron", "Wine", "Stretch", "Widths"}
LIVE = {"Perceptron": "Layers", "Stretch": "LiveStretch"}
MOST_LINES = 40


def ddcore(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_each_part_takes_few_lines():
    tree = ast.parse(Path(ddcore_outside.__file__).read_text())
    lines = {node.name: node.end_lineno - node.lineno + 2 for node in tree.body if hasattr(node, "name")}
    assert lines.keys() >= BRINGS
    assert all(lines[name] + lines.get(LIVE.get(name), 0) <= MOST_LINES for name in BRINGS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which all but the study takes part."""
    folder = tmp_path_factory.mktemp("outside") / "wine"
    changes = {"network.name": "perceptron", "views": '[{name="stretch", most=1.2}]', "protocol.repeats": 3}
    said = [f"--set={path}={value}" for path, value in changes.items()]
    ddcore("distill", "dm", "--data", "wine", "--iterations", 20, "--protocol", "brief", "--out", folder, *said)
    return folder


def test_a_measure_and_a_protocol_by_name(run):
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["scores"]
    assert scores.keys() == {"accuracy", "margin"}
    assert all(len(scores[measure]["perceptron"]["values"]) == 3 for measure in scores)
    assert scores["margin"]["perceptron"]["mean"] > 0
    assert metrics["baselines"]["random"].keys() == scores.keys()
    report = (run / "report.md").read_text()
    assert "margin" in report
    assert not (run / "images.png").exists(), "vectors have no picture"


def test_a_views_facts_stand_on_the_card(run):
    distilled = DistilledSet.load(run / "distilled.safetensors")
    assert 1 < distilled.facts["stretched"] < 1.2
    assert distilled.inputs.shape == (3, 13)


def test_a_measure_and_networks_with_fields_on_a_finished_run(run, tmp_path):
    out = tmp_path / "again.json"
    networks = "perceptron(width=4),perceptron(width=8)"
    ddcore("evaluate", run, "--protocol", "brief", "--measures", "margin", "--networks", networks, "--json", out)
    scores = json.loads(out.read_text())["scores"]
    assert scores.keys() == {"margin"}
    assert scores["margin"].keys() == {"perceptron(width=4)", "perceptron(width=8)"}


def test_a_study_by_name(tmp_path):
    told = ddcore("study", "widths", "--set", "widths=[2,8]", "--set", "seeds=[0,1]", "--out", tmp_path / "study")
    assert "width 2" in told
    assert "width 8" in told
    assert (tmp_path / "study" / "finding.csv").exists()


def test_all_of_it_is_listed():
    listed = {row["name"] for row in json.loads(ddcore("list", "parts", "--json"))}
    assert {"margin", "perceptron", "wine", "stretch", "widths"} <= listed
    assert "brief" in {row["name"] for row in json.loads(ddcore("list", "protocols", "--json"))}
