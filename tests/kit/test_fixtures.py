"""The plugin of pytest: there where it is installed, silent, and without torch before a fixture is asked for."""

import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
ENTRY = PROJECT["entry-points"]["pytest11"]["ddcore"]

TEST = """
def test_tiny(tiny_images, tiny_vectors, tiny_signals, tiny_videos, tiny_nodes, tiny_run, hook_recorder):
    kinds = [data.card.kind for data in (tiny_images, tiny_vectors, tiny_signals, tiny_videos, tiny_nodes)]
    assert kinds == ["image", "vector", "signal", "video", "vertex"]
    assert tiny_run(iterations=2).facts["steps"] == 2
    assert hook_recorder.calls == []
"""
SILENT = """
import sys
import pytest
import ddcore.testing.fixtures
assert "torch" not in sys.modules, "torch was imported"
"""


def test_its_fixtures(tmp_path):
    (tmp_path / "test_tiny.py").write_text(TEST)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:ddcore", "-p", ENTRY]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_nothing_heavy_is_imported_as_pytest_starts():
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
