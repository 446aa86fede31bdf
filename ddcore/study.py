"""A study: an experiment with a protocol of its own, in one folder that can be resumed."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import tomli_w

from ddcore.device import check_device
from ddcore.errors import RecipeRefused
from ddcore.files import write_whole
from ddcore.host import Host
from ddcore.packing import to_dict
from ddcore.parts import Part
from ddcore.report.tables import markdown_table


@dataclass(frozen=True)
class Finding:
    """What a study found: a table for people, and every number for programs."""

    head: list[str]
    rows: list[list[str]]
    numbers: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    """What the table means, in sentences."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """``mean``, ``std`` (of the sample; 0 for one value) and ``n`` of what a study found with each seed."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}


class Study(Part, kind="study"):
    """An experiment with a protocol of its own; its fields are its settings."""

    @abstractmethod
    def conduct(
        self, folder: Path, host: Host, device: str, progress: Callable[[str, int, int], None] | None
    ) -> Finding:
        """Carry it out, going on from what already lies in ``folder``; pictures and parts are left there."""


def run_study(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Finding:
    """Carry ``study`` out in ``folder``, or go on with it where it was stopped there.

    Leaves ``study.toml`` (the settings), ``finding.json`` and ``report.md`` beside what the study itself leaves.

    Raises:
        RecipeRefused: there is no such ``device``, or the folder holds an experiment, another study, or what the same
            one has done with other settings.
    """
    check_device(device)
    place, name = Path(folder), type(study).part_name()
    settings = tomli_w.dumps({"name": name, **to_dict(study)})
    kept = place / "study.toml"
    if not kept.exists() and (place / "recipe.toml").exists():
        raise RecipeRefused(f"{place} holds an experiment. Name another folder with --out.")
    begun = kept.exists() and any(other != kept for other in place.iterdir())
    if begun and kept.read_text() != settings:
        raise RecipeRefused(f"{place} holds a study with other settings ({kept}). Name another folder with --out.")
    write_whole(kept, settings.encode())
    finding = study.conduct(place, host or Host(), device, progress)
    numbers = {"study": name, **finding.numbers}
    write_whole(place / "finding.json", (json.dumps(numbers, indent=2) + "\n").encode())
    pictures = "".join(f"![{path.stem}]({path.name})\n\n" for path in sorted(place.glob("*.png")))
    report = f"# Study: {name}\n\n{markdown_table(finding.head, finding.rows)}\n{finding.says}\n\n{pictures}"
    write_whole(place / "report.md", f"{report}## Settings\n\n```toml\n{settings}```\n".encode())
    return finding
