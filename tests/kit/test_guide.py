"""The guide of plugins/README.md, followed to the letter: few lines, five commands, and a private method comes out."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddcore import load_distilled
from ddcore.cli import app
from ddcore.template.kinds import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "plugins" / "README.md").read_text().split("## Your own, in five commands")[1]
FILES = re.findall(r"in `(ddcore-quiet/[^`]+)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
SHORT = {
    "distill": "--iterations 3 --networks mlp --repeats 1 --set network.width=4 --set objective.real=8"
    " --set protocol.steps=3"
}


def test_it_takes_few_lines_and_five_commands():
    assert len(COMMANDS) == 5
    assert len(FILES) == 3
    assert sum(bool(line.strip()) for _, text in FILES for line in text.splitlines()) <= 40


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a distribution where this process finds it; nothing is fetched."""

    def install(folder):
        site = tmp_path / "site"
        words = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site, folder]
        done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        monkeypatch.syspath_prepend(str(site))

    yield install
    for name in [name for name in sys.modules if name.startswith("ddcore_quiet")]:
        del sys.modules[name]


def test_an_author_who_follows_the_guide_has_a_private_method(tmp_path, monkeypatch, installed):
    monkeypatch.chdir(tmp_path)
    new, *rest = COMMANDS
    said = {}

    def ddcore(words):
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said[" ".join(words[:2])] = done.output

    ddcore(shlex.split(new)[1:])
    for path, text in FILES:
        assert Path(path).exists(), path
        Path(path).write_text(text)
    for line in rest:
        program, *words = shlex.split(line)
        if program == "pip":
            for name in [name for name in sys.modules if name.startswith("ddcore_quiet")]:
                del sys.modules[name]
            installed(words[-1])
        else:
            ddcore([*words, *shlex.split(SHORT.get(words[0], ""))])
    assert "keeps the rules" in said["plugins check"]
    run = Path("runs/digits-quiet_plain-ipc1-0")
    distilled = load_distilled(run / "distilled.safetensors")
    assert distilled.facts["privacy"]["epsilon"] <= 10.0
    assert json.loads((run / "metrics.json").read_text())["scores"].keys() == {"accuracy", "quiet_confidence"}
    assert re.search(r"ddcore_step +private +3", said["plugins trace"])
    assert re.search(r"3 features", said["plugins trace"])


def test_the_table_of_what_can_be_added_names_every_kind_and_its_check():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## I want to add a ...")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| [^|]+ \| `([\w/.]+)` \| `testing\.(\w+)` \|$", table, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == EXAMPLES.keys()
    for kind, file, check in rows:
        assert (ROOT / file).exists()
        assert f"testing.{check}(" in EXAMPLES[kind].check or kind == "hook"
