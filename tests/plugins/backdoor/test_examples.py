"""The plugin's README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).resolve().parents[3] / "plugins" / "backdoor" / "README.md").read_text()


def test_the_example_runs_in_an_empty_file(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "This set is poisoned" in done.stdout
    assert "attack_success" in done.stdout
    assert "0 faults" in done.stdout
