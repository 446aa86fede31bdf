"""The plugin's README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[3] / "plugins" / "replay" / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_in_an_empty_file(number, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES[number])
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bytes" in done.stdout.splitlines()[-2 if number == 2 else -1]


def test_the_first_is_of_avalanche():
    assert "from avalanche" in EXAMPLES[0]
    assert len(EXAMPLES) == 3
