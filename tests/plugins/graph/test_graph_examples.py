"""The plugin's README does what it says, and the benchmark's two ways agree."""

import re
from pathlib import Path

from ddcore_graph.bench import graph

from ddcore.bench import TOLERANCE

README = (Path(__file__).resolve().parents[3] / "plugins" / "graph" / "README.md").read_text()


def test_the_example_runs_in_an_empty_file(script, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "example.py"
    file.write_text(example)
    status, said = script(file, folder=tmp_path)
    assert status == 0, said
    small, share = said.splitlines()[-2:]
    assert small.startswith("Data(x=[12, 16]") and share.endswith("from 12 of 600 nodes")
    assert float(share.split()[0]) > 50, "a third is chance"


def test_a_step_is_the_bare_passes():
    assert all(pair.apart() <= TOLERANCE for pair in graph())
