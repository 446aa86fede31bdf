"""The plugin's README does what it says."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[3] / "plugins" / "backdoor" / "README.md").read_text()


def test_the_example_runs_in_an_empty_file(script, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "example.py"
    file.write_text(example)
    status, said = script(file, folder=tmp_path)
    assert status == 0, said
    assert "This set is poisoned" in said
    assert "attack_success" in said
    assert "0 faults" in said
