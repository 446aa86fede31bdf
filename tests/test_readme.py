"""The README does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


SETUP = [line for block in blocks("console") for line in block.splitlines() if line.startswith("python3 -m venv")]


def test_there_are_two_commands_to_set_up():
    alone = [block.strip() for block in blocks("console") if len(block.strip().splitlines()) == 1]
    assert alone == SETUP
    assert len(SETUP) == 2
    assert SETUP[0].endswith(".venv/bin/pip install -e . && .venv/bin/ddcore distill dm --data digits --ipc 1")
    assert SETUP[1].endswith(".venv/bin/pip install -r requirements-all.txt && .venv/bin/python -m pytest")


# --- continuous integration ------------------------------------------------------------------------------

PYTHON3 = r"""#!/usr/bin/env bash
# Makes no environment: notes what is asked of it, and of the programs in the one it pretends to make.
echo "python3 $*" >> "$LOG"
mkdir -p "$3/bin"
for name in pip python pytest ruff pyright; do
    printf '#!/usr/bin/env bash\necho "%s $*" >> "$LOG"\n[ "%s" != "$FAILS" ]\n' "$name" "$name" > "$3/bin/$name"
    chmod +x "$3/bin/$name"
done
"""


@pytest.fixture
def ci(tmp_path):
    """Runs .ci/run beside programs that only note what is asked of them; ``fails`` is the one that fails."""

    def run(fails=""):
        programs, log, temporary = tmp_path / "programs", tmp_path / "log", tmp_path / "temporary"
        for folder in (programs, temporary):
            folder.mkdir()
        (programs / "python3").write_text(PYTHON3)
        (programs / "python3").chmod(0o755)
        own = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(temporary), "LOG": str(log), "FAILS": fails}
        done = subprocess.run(
            [ROOT / ".ci" / "run"], cwd=tmp_path, env={**os.environ, **own}, stdin=subprocess.DEVNULL, check=False
        )
        assert list(temporary.iterdir()) == []
        return done.returncode, log.read_text().replace(f"{temporary}/", "").splitlines()

    return run


def test_ci_runs_the_readmes_own_test_command_and_then_style_and_types(ci):
    status, asked = ci()
    assert status == 0
    fresh = asked[0].removeprefix("python3 -m venv ")
    steps = [shlex.split(step.replace(".venv", fresh)) for step in SETUP[1].split("&&")]
    steps = [" ".join([words[0].rpartition("/")[2], *words[1:]]) for words in steps]
    assert asked[: len(steps)] == steps
    checks, rest = asked[len(steps) : len(steps) + 3], asked[len(steps) + 3 :]
    assert checks == ["ruff check .", "ruff format --check .", f"pyright --pythonpath {fresh}/bin/python"]
    site, wheels, installed, tested, slow, plain, avx2, default, lowest, target, at_lowest = rest
    assert site == "pytest -q -m slow tests/docs"
    assert wheels.startswith("python -m pip wheel")
    assert installed.startswith("python -m pip install --quiet --no-deps --force-reinstall")
    assert tested.startswith("pytest -q tests/")
    assert slow == "pytest -q -m slow"
    assert plain == avx2 and plain.startswith("pytest -q tests/")
    assert default.startswith(avx2)
    assert "--cov-fail-under" in default
    assert lowest == "python -"
    assert target.startswith("python -m pip install --quiet --target")
    assert at_lowest.startswith("pytest -q -W ignore tests/")


@pytest.mark.parametrize(("fails", "last"), [("pip", "pip"), ("python", "python"), ("ruff", "ruff check")])
def test_ci_stops_where_something_fails(ci, fails, last):
    status, asked = ci(fails)
    assert status != 0
    assert asked[-1].startswith(last)


def test_ci_fails_where_types_do(ci):
    assert ci("pyright")[0] != 0


# --- what it shows ---------------------------------------------------------------------------------------


def test_the_main_job_really_runs(tmp_path):
    program, *words = shlex.split(SETUP[0].split("&&")[-1])
    short = ["--iterations", "2", "--repeats", "1", "--networks", "mlp", "--set", "network.width=8"]
    short += ["--set", "protocol.steps=3"]
    done = subprocess.run(
        [Path(sys.executable).with_name(Path(program).name), *words, *short],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("dm (distilled)", "random", "herding", "whole"):
        assert name in done.stdout
    told = README.split("## What comes out")[1].split("\n## ")[0]
    folder = tmp_path / re.search(r"`(runs/[^`]+/)`", told)[1]
    for name in re.findall(r"`([\w.]+/?)`", re.sub(r"\| [^|]+ \|$", "", told, flags=re.MULTILINE)):
        assert (folder / name).exists(), name
    assert {path.name for path in folder.iterdir()} <= {name.rstrip("/") for name in re.findall(r"`([^`]+)`", told)}
