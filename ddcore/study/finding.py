"""What a study found: a table, sentences, plots, and every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from ddcore.plots import Plot


@dataclass(frozen=True)
class Finding:
    """What a study found: a table for people, and every number for programs."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: dict[str, Any] = field(default_factory=dict)
    """What ``finding.json`` holds."""
    says: str = ""
    """What the table means, in sentences."""
    plots: tuple[Plot, ...] = ()

    def __str__(self) -> str:
        """The table and the sentences, as plain lines."""
        return "".join(f"{' | '.join(row)}\n" for row in [self.head, *self.rows]) + self.says


def spread(values: Sequence[float]) -> dict[str, Any]:
    """``mean``, ``std`` (of the sample; 0 for one value) and ``n`` of what a study found with each seed."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}
