"""A finished run's ``metrics.json``, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ddcore.errors import DdcoreError, fields_at_fault
from ddcore.packing import NONE

Figure = Annotated[float, Field(ge=-1e30, le=1e30)]
"""A number that can be shown and drawn."""
Size = Annotated[int, Field(ge=0, lt=2**63)]


class _Table(BaseModel):
    """Some fields of a table; others may stand beside them."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class MeasuredScore(_Table):
    """One measure of one network; null stands for nets that diverged."""

    mean: Figure | None
    std: Figure | None
    values: Annotated[list[Figure | None], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> MeasuredScore:
        if (self.mean is None) != all(value is None for value in self.values) or (self.mean is None) != (
            self.std is None
        ):
            raise ValueError("mean and std are null where all values are, and nowhere else")
        return self


class MeasuredBy(_Table):
    """How one measure is written."""

    unit: str
    higher_is_better: bool
    digits: Annotated[int, Field(ge=0, le=20)]


Scores = Annotated[dict[str, Annotated[dict[str, MeasuredScore], Field(min_length=1)]], Field(min_length=1)]


class _Seconds(_Table):
    distilling: Annotated[Figure, Field(ge=0)]


class _Named(_Table):
    name: str


class MeasuredUnder(_Table):
    """The protocol, as far as reports speak of it."""

    @model_validator(mode="before")
    @classmethod
    def _without_none(cls, table: Any) -> Any:
        return {k: None if v == NONE else v for k, v in table.items()} if isinstance(table, dict) else table

    networks: list[dict[str, Any]] = []
    estimators: list[dict[str, Any]] = []
    steps: Size | None = None
    epochs: Size | None = None
    lr: list[Figure] = []
    learned_lr: bool = False
    augment: _Named | None = None
    cutmix: Figure = 0.0
    optimiser: _Named | None = None
    repeats: Size | None = None


class _Facts(_Table):
    warnings: tuple[str, ...] = ()


class Metrics(_Table):
    """What others read of a run's ``metrics.json``."""

    method: str
    data: str
    ipc: Size
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    network: str
    scores: Scores
    baselines: dict[str, Scores]
    measures: dict[str, MeasuredBy]
    chosen_by: str
    bytes: Size
    baseline_bytes: dict[str, Size]
    baseline_ipc: dict[str, Size] = {}
    """Items per class of the baselines that choose, where they are told."""
    seconds: _Seconds
    protocol: MeasuredUnder
    steps: Size
    facts: _Facts = _Facts()

    @model_validator(mode="after")
    def _complete(self) -> Metrics:
        if unsized := self.baselines.keys() - self.baseline_bytes.keys():
            raise ValueError(f"baseline_bytes lacks {', '.join(sorted(unsized))}")
        sets = {"scores": self.scores, **{f"baselines.{name}": of for name, of in self.baselines.items()}}
        for where, scores in sets.items():
            if unknown := scores.keys() - self.measures.keys():
                raise ValueError(f"measures lacks {', '.join(sorted(unknown))}, which {where} has")
            if self.chosen_by not in scores:
                raise ValueError(f"{where} lacks {self.chosen_by}, which chosen_by names")
            for name, of in scores.items():
                if of.keys() != self.scores[self.chosen_by].keys():
                    raise ValueError(f"{where}.{name} is not of the networks of scores.{self.chosen_by}")
        return self


def read_metrics(folder: Path) -> tuple[Metrics, dict[str, Any]]:
    """The metrics of the finished run in ``folder``: checked, and as they were written.

    Raises:
        DdcoreError: it is not finished, or its metrics are damaged.
    """
    path = folder / "metrics.json"
    if not path.exists():
        raise DdcoreError(f"{folder} holds no finished experiment (there is no metrics.json). Is it still running?")
    try:
        written = path.read_bytes()
        return Metrics.model_validate_json(written), json.loads(written)
    except ValidationError as error:
        said = fields_at_fault(error)
    except (ValueError, RecursionError) as error:
        said = str(error)
    raise DdcoreError(f"{path} is damaged ({said}). `ddcore resume {folder}` writes it again.")
