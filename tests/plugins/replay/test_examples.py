"""The plugin's README does what it says."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[3] / "plugins" / "replay" / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_in_an_empty_file(script, number, tmp_path):
    example = tmp_path / "example.py"
    example.write_text(EXAMPLES[number])
    status, said = script(example, folder=tmp_path)
    assert status == 0, said
    assert "bytes" in said.splitlines()[-2 if number == 2 else -1]


def test_the_first_is_of_avalanche():
    assert "from avalanche" in EXAMPLES[0]
    assert len(EXAMPLES) == 3
