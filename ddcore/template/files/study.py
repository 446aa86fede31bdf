"""An experiment of its own: many cases, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddcore import plugin as dd


@dataclass(frozen=True)
class Sizes(dd.Study):
    """How accuracy grows with the number of random items per class."""

    chooses = frozenset({"ipcs", "seeds"})
    several = ("ipcs", "seeds")

    data: dd.DataSet = dd.Digits()
    """What the items are drawn from."""
    ipcs: tuple[dd.Count, ...] = (1, 10)
    """Items per class that are compared."""
    seeds: tuple[dd.Whole, ...] = (0, 1)
    """Seeds of the choice and of the training."""
    steps: dd.Count = 100
    """Training steps of each network."""

    def cases(self, host: dd.Host) -> Sequence[dd.Case]:
        return [dd.Case(f"{ipc} per class", seed, {"ipc": ipc}) for ipc in self.ipcs for seed in self.seeds]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        data, kind = dd.loaded(self.data), self.data.item_kind()
        recipe = host.recipe("random", kind=kind, ipc=case.description["ipc"])
        chosen = host.distill(recipe, data, seed=case.seed, device=device)
        network = host.kind(kind).network
        protocol = replace(host.protocol("quick", kind=kind), steps=self.steps, repeats=1, networks=(network,))
        scores = dd.evaluate(chosen, data, protocol, seed=case.seed or 0, host=host, device=device)
        (score,) = scores["accuracy"].values()
        return {"accuracy": score.mean}

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        rows, numbers = [], {}
        for group in dd.over_seeds(found):
            label, accuracy = group[0].case.label, dd.spread([one.numbers["accuracy"] for one in group])
            rows.append([label, dd.plus_minus(**accuracy)])
            numbers[label] = accuracy
        return dd.Finding(["items", "accuracy"], rows, numbers)
