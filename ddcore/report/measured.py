"""What a comparison reads of the folders of finished runs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from ddcore.errors import DdcoreError
from ddcore.packing import dotted


class MeasuredScore(BaseModel):
    """One measure of one network; null stands for nets that diverged."""

    mean: float | None
    std: float | None
    values: Annotated[list[float | None], Field(min_length=1)]


class MeasuredBy(BaseModel):
    """How one measure is written."""

    unit: str
    higher_is_better: bool
    digits: int


_Scores = Annotated[dict[str, dict[str, MeasuredScore]], Field(min_length=1)]


class _Seconds(BaseModel):
    distilling: float


class _Metrics(BaseModel):
    """What a comparison reads of a run's ``metrics.json``."""

    method: str
    data: str
    ipc: int
    seed: int
    network: str
    scores: _Scores
    baselines: dict[str, _Scores]
    measures: dict[str, MeasuredBy]
    chosen_by: str
    bytes: int
    baseline_bytes: dict[str, int]
    seconds: _Seconds
    protocol: dict[str, Any]
    steps: int

    @model_validator(mode="after")
    def _all_sized(self) -> _Metrics:
        if unsized := self.baselines.keys() - self.baseline_bytes.keys():
            raise ValueError(f"baseline_bytes lacks {', '.join(sorted(unsized))}")
        known = {name for scores in (self.scores, *self.baselines.values()) for name in scores}
        if unknown := known - self.measures.keys():
            raise ValueError(f"measures lacks {', '.join(sorted(unknown))}")
        if self.chosen_by not in self.scores:
            raise ValueError(f"scores lacks {self.chosen_by}, which chosen_by names")
        return self


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
    run = _metrics(folder)
    setting = json.dumps({**_setting(folder, run), "steps": run.steps}, sort_keys=True)
    plans = dict(zip(next(iter(run.scores.values())), run.protocol.get("networks", []), strict=False))
    protocol = {name: value for name, value in run.protocol.items() if name not in ("networks", "measures")}
    if len(protocol.get("lr", [])) < 2:
        protocol.pop("chosen_by", None)
    sets = [
        (run.method, run.scores, run.bytes, True),
        *((name, scores, run.baseline_bytes[name], False) for name, scores in run.baselines.items()),
    ]
    for name, scores, size, own in sets:
        for network in next(iter(scores.values())):
            yield MeasuredSet(
                method=name,
                data=run.data,
                ipc=run.ipc,
                network=json.dumps(plans.get(network, {"name": network}), sort_keys=True),
                protocol=json.dumps(protocol, sort_keys=True),
                short=_protocol(run.protocol),
                setting=setting if own else "{}",
                seed=run.seed,
                scores={name: of[network] for name, of in scores.items() if network in of},
                measures=run.measures,
                first=run.chosen_by,
                bytes=size,
                seconds=run.seconds.distilling if own else None,
            )


def _setting(folder: Path, run: _Metrics) -> dict[str, Any]:
    """What made the run's set, but for its seed and its length: the fields of its recipe by dotted path."""
    path = folder / "recipe.toml"
    if not path.exists():
        return {"network": run.network}
    try:
        recipe = tomllib.loads(path.read_text())
        validation = recipe.pop("experiment", {}).get("validation")
    except (ValueError, AttributeError) as error:
        raise DdcoreError(f"{path} is damaged: {error}.") from error
    flat = dotted({**recipe, "experiment": {"validation": validation}})
    return {path: value for path, value in flat.items() if path not in ("seed", "iterations", "name")}


def _protocol(table: Mapping[str, Any]) -> str:
    length = f"{table['epochs']} epochs" if "epochs" in table else f"{table.get('steps')} steps"
    augment = table.get("augment", {}).get("name", "no augmentation") + " with cutmix" * bool(table.get("cutmix"))
    rates = "learned or " * bool(table.get("learned_lr")) + "/".join(f"{rate:g}" for rate in table.get("lr", []))
    optimiser = table.get("optimiser", {}).get("name", "no optimiser")
    return f"{optimiser} {length}, lr {rates}, {augment}, {table.get('repeats')} nets"


def _metrics(folder: Path) -> _Metrics:
    path = folder / "metrics.json"
    if not path.exists():
        raise DdcoreError(f"{folder} holds no finished experiment (there is no metrics.json). Is it still running?")
    try:
        return _Metrics.model_validate_json(path.read_bytes())
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()[:3])
        raise DdcoreError(f"{path} is damaged ({said}). `ddcore resume {folder}` makes it again.") from error
