"""The plugin's README does what it says."""

import re
from pathlib import Path

from ddcore_federated import TrainOnUnion, ddcore_parts
from ddcore_federated.flower import SyntheticUnion, distilling_client

import ddcore

SHORT = ddcore.Protocol(steps=2, repeats=1, augment=None)

README = (Path(__file__).resolve().parents[3] / "plugins" / "federated" / "README.md").read_text()


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
