"""The plugin's README does what it says."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[3] / "plugins" / "nas" / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SAID = ("is best after full training", "8-1", "evolution on random, 1 a class")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_in_an_empty_file(script, number, tmp_path):
    file = tmp_path / "example.py"
    file.write_text(EXAMPLES[number])
    status, said = script(file, folder=tmp_path)
    assert status == 0, said
    assert SAID[number] in said


def test_what_it_names_is_there(host):
    named = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    brought = {entry.name for entry in host.catalogue if entry.distribution == "ddcore-nas"}
    kinds = {entry.name for entry in host.catalogue if entry.kind in ("proxy", "space")}
    assert named == kinds & brought
