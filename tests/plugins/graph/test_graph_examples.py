"""The plugin's README does what it says, and the benchmark's two ways agree."""

import re
import subprocess
import sys
from pathlib import Path

from ddcore_graph.bench import graph

from ddcore.bench import TOLERANCE

README = (Path(__file__).resolve().parents[3] / "plugins" / "graph" / "README.md").read_text()


def test_the_example_runs_in_an_empty_file(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    small, said = done.stdout.splitlines()[-2:]
    assert small.startswith("Data(x=[12, 16]") and said.endswith("from 12 of 600 nodes")
    assert float(said.split()[0]) > 50, "a third is chance"


def test_a_step_is_the_bare_passes():
    assert all(pair.apart() <= TOLERANCE for pair in graph())
