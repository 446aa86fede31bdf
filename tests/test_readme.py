"""The README does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddcore.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


SETUP = [line for block in blocks("console") for line in block.splitlines() if line.startswith("python3 -m venv")]
COMMANDS = [line for block in blocks("console") for line in block.splitlines() if line.startswith("ddcore ")]


def test_there_are_two_commands_to_set_up():
    assert len(SETUP) == 2
    assert SETUP[0].endswith("ddcore distill dm --data digits --ipc 1")
    assert SETUP[1].endswith("python -m pytest")


def test_ci_runs_the_readmes_own_test_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    pattern = re.search(r"grep -E '(.*)' README.md", script.read_text())[1]
    assert [line for line in README.splitlines() if re.search(pattern, line)] == [SETUP[1]]


def test_the_main_job_really_runs(tmp_path):
    words = shlex.split(SETUP[0].split("&&")[-1])[1:]
    short = ["--iterations", "2", "--repeats", "1"]
    done = subprocess.run(
        [sys.executable, "-c", "from ddcore.cli import app; app()", *words, *short],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "digits-dm-ipc1-0" / "report.md").exists()
    for name in ("dm (distilled)", "random", "herding", "whole"):
        assert name in done.stdout


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_its_python_runs(number, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[number])
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_have_the_options_it_uses(line):
    _, command, *words = shlex.split(line)
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
