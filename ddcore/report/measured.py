"""What a comparison reads of the folders of finished runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddcore.errors import DdcoreError
from ddcore.packing import dotted, parse_toml
from ddcore.report.metrics import MeasuredBy, MeasuredScore, MeasuredUnder, Metrics, read_metrics


@dataclass(frozen=True)
class MeasuredSet:
    """One set of one run, measured with one network."""

    method: str
    data: str
    ipc: int
    network: str
    """As JSON."""
    protocol: str
    """The whole of it as JSON, without its networks and measures."""
    short: str
    setting: str
    """What made the set, but for the seed, as JSON; the same for all baselines of one name."""
    seed: int
    scores: dict[str, MeasuredScore]
    """By measure."""
    measures: dict[str, MeasuredBy]
    first: str
    """The measure that chooses."""
    bytes: int
    seconds: float | None
    warnings: tuple[str, ...] = ()
    """What whoever is shown the set must read."""

    @property
    def place(self) -> tuple[str, int, str, str]:
        """What two sets must share to stand beside each other."""
        return self.data, self.ipc, self.network, self.protocol

    @property
    def curve(self) -> tuple[str, str, str, str]:
        """What two sets must share to be points of one line."""
        return self.method, self.data, self.network, self.protocol


def measured_sets(folder: Path) -> Iterator[MeasuredSet]:
    """Each set of the run in ``folder`` with each network."""
    run, written = read_metrics(folder)
    setting = json.dumps({**_setting(folder, run), "steps": run.steps}, sort_keys=True, default=str)
    learners = [*run.protocol.networks, *run.protocol.estimators]
    plans = dict(zip(run.scores[run.chosen_by], learners, strict=False))
    own = ("networks", "estimators", "measures")
    protocol = {name: value for name, value in written["protocol"].items() if name not in own}
    if len(run.protocol.lr) < 2:
        protocol.pop("chosen_by", None)
    sets = [
        (run.method, run.scores, run.bytes, True),
        *((_called(name, run), scores, run.baseline_bytes[name], False) for name, scores in run.baselines.items()),
    ]
    for name, scores, size, made in sets:
        for network in scores[run.chosen_by]:
            yield MeasuredSet(
                method=name,
                data=run.data,
                ipc=run.ipc,
                network=json.dumps(plans.get(network, {"name": network}), sort_keys=True),
                protocol=json.dumps(protocol, sort_keys=True),
                short=_protocol(run.protocol),
                setting=setting if made else "{}",
                seed=run.seed,
                scores={name: of[network] for name, of in scores.items() if network in of},
                measures=run.measures,
                first=run.chosen_by,
                bytes=size,
                seconds=run.seconds.distilling if made else None,
                warnings=run.facts.warnings if made else (),
            )


def _called(name: str, run: Metrics) -> str:
    """A baseline with its items per class, where these are not the run's."""
    n = run.baseline_ipc.get(name, run.ipc)
    return name if n == run.ipc else f"{name}, {n} per class"


def _setting(folder: Path, run: Metrics) -> dict[str, Any]:
    """What made the run's set, but for its seed and its length: the fields of its recipe by dotted path."""
    path = folder / "recipe.toml"
    if not path.exists():
        return {"network": run.network}
    try:
        recipe = parse_toml(path.read_text(), str(path))
        validation = recipe.pop("experiment", {}).get("validation")
    except (ValueError, AttributeError) as error:
        raise DdcoreError(f"{path} is damaged: {error}.") from error
    flat = dotted({**recipe, "experiment": {"validation": validation}})
    return {path: value for path, value in flat.items() if path not in ("seed", "iterations", "name")}


def _protocol(said: MeasuredUnder) -> str:
    lengths = {"steps": said.steps, "epochs": said.epochs}
    length = next((f"{n} {unit}" for unit, n in lengths.items() if n is not None), "as many steps as suit the set")
    augment = ("no augmentation" if said.augment is None else said.augment.name) + " with cutmix" * bool(said.cutmix)
    rates = "learned or " * said.learned_lr + "/".join(f"{rate:g}" for rate in said.lr)
    optimiser = "no optimiser" if said.optimiser is None else said.optimiser.name
    return f"{optimiser} {length}, lr {rates}, {augment}, {said.repeats} nets"
