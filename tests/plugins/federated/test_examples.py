"""The plugin's README does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from ddcore_federated import TrainOnUnion, ddcore_parts
from ddcore_federated.flower import SyntheticUnion, distilling_client

import ddcore

SHORT = ddcore.Protocol(steps=2, repeats=1, augment=None)

README = (Path(__file__).resolve().parents[3] / "plugins" / "federated" / "README.md").read_text()


def test_its_example_runs_in_an_empty_file(tmp_path):
    example, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example)
    environment = {**os.environ, "HOME": str(tmp_path), "FLWR_HOME": str(tmp_path)}
    words = [sys.executable, "-W", "error", script]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = re.fullmatch(r"accuracy (.+), worst client (.+), (\d+) bytes up, (\d+) bytes down\n", done.stdout)
    assert told is not None
    assert float(told[1]) > 50
    assert 0 < int(told[3]) < int(told[4])
    assert not (tmp_path / "source").exists(), "Flower's telemetry leaves its name there"


def test_its_own_data_are_a_clients(quick, in_process):
    _, example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    there = {"__name__": __name__}
    exec(example, there)
    card = there["shards"].data.load().card
    for shards, classes in ((there["shards"], 3), (there["halves"], 10)):
        strategy = SyntheticUnion(card, ddcore.MLP(width=8), ipc=1, server=TrainOnUnion(SHORT), clients=4)
        app = distilling_client(shards, quick())
        result = in_process(lambda grid, s=strategy: s.start(grid, s.initial(), 1), app, clients=4)
        assert result.train_metrics_clientapp[1]["sets"] == 4
        assert classes <= result.train_metrics_clientapp[1]["images"] / 4 <= 10


def test_it_names_every_method():
    ours = {maker.__name__ for maker in ddcore_parts() if getattr(maker, "kind", "") == "method"}
    rows = [row for row in README.split("## Methods")[1].split("\n## ")[0].splitlines() if row.startswith("| `")]
    assert ours == set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in rows)))
