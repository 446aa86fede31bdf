"""Runs side by side: a table, CSV, and a plot."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ddcore.plots import Line, Panel, Plot
from ddcore.report.measured import MeasuredSet, measured_sets
from ddcore.report.tables import bytes_cell, markdown_table, plus_minus

BARS = "bars: deviation over seeds, or over networks where there is a single run"


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone, or a baseline of theirs."""

    method: str
    data: str
    ipc: int
    protocol: str
    network: str
    accuracy: float
    std_nets: float | None
    """Deviation over the networks of one evaluation, the mean of the runs'; None for a single network."""
    std_seeds: float | None
    """Deviation of the runs' means over their seeds; None for a single run."""
    seeds: int
    bytes: int
    seconds: float | None
    setting: str = ""
    """Where runs of one method differ by more than their seeds: what is particular to these."""

    @property
    def label(self) -> str:
        return f"{self.method} ({self.setting})" if self.setting else self.method


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    rows: list[Row]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as text; the protocol is a column only where there are several."""
        several = len({row.protocol for row in self.rows}) > 1
        head = ["method", "data", "ipc", "network", "accuracy ± nets", "± seeds (n)", "bytes", "seconds"]
        return [*head, *["protocol"] * several], [
            [
                *(row.label, row.data, str(row.ipc), row.network),
                plus_minus(row.accuracy, row.std_nets),
                "-" if row.std_seeds is None else f"{row.std_seeds:.1f} ({row.seeds})",
                bytes_cell(row.bytes),
                "-" if row.seconds is None else f"{row.seconds:.1f}",
                *[row.protocol] * several,
            ]
            for row in self.rows
        ]

    def says(self) -> str:
        """How it was measured."""
        protocols = ", or ".join(sorted({row.protocol for row in self.rows}))
        return f"Test accuracy in percent ({protocols}): mean, deviation over networks, deviation over seeds (runs)."

    def markdown(self) -> str:
        """The table with how it was measured below."""
        return f"{markdown_table(*self.table())}\n{self.says()}\n"

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()

    def picture(self, name: str) -> Plot:
        """Accuracy against stored bytes, a line for each method and a panel for each data set and network."""
        places = sorted({(row.data, row.network, row.protocol) for row in self.rows})
        panels = []
        for place in places:
            shown = [row for row in self.rows if (row.data, row.network, row.protocol) == place]
            stored = [row.bytes for row in shown if row.label != "whole"] or [row.bytes for row in shown]
            lines = [
                _line([row for row in shown if row.label == label]) for label in dict.fromkeys(r.label for r in shown)
            ]
            panels.append([Panel(lines, "{}, {}\n{}".format(*place), "x" if max(stored) > 3 * min(stored) else "")])
        return Plot(name, f"stored\n({BARS})", "test accuracy (%)", panels, unit="B", shared=False)

    def plot(self, path: Path) -> Path:
        """Save :meth:`picture` as PNG at ``path``."""
        return self.picture(path.stem).save(path)


def _line(rows: list[Row]) -> Line:
    rows = sorted(rows, key=lambda row: row.bytes)
    label = rows[0].label
    if label == "whole":
        return Line(label, [rows[0].accuracy], reference=True)
    bars = [(row.std_nets if row.std_seeds is None else row.std_seeds) or 0 for row in rows]
    x, y = ([getattr(row, name) for row in rows] for name in ("bytes", "accuracy"))
    return Line(label, y, x, bars, reference=label in ("random", "herding"))


def compare(folders: Iterable[str | Path]) -> Comparison:
    """The runs in ``folders`` side by side; those that differ by their seed alone are one row.

    A folder, or a seed, that is given twice counts once. A baseline has one row for each data set, ipc, protocol and
    network, over the seeds of all the runs that stand beside it; a run of its own of that method takes its place.

    Raises:
        DdcoreError: a folder without metrics, or with damaged ones.
    """
    own: list[MeasuredSet] = []
    baselines: list[MeasuredSet] = []
    for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values():
        for found in measured_sets(folder):
            (baselines if found.seconds is None else own).append(found)
    taken = {(found.method, *found.place) for found in own}
    baselines = [found for found in baselines if (found.method, *found.place) not in taken]
    groups: dict[tuple[Any, ...], list[MeasuredSet]] = defaultdict(list)
    for found in (*own, *baselines):
        groups[(found.method, found.setting, *found.place)].append(found)
    firsts = [alike[0] for alike in groups.values()]
    rows = [
        _row(alike, _differing([one for one in firsts if one.curve == alike[0].curve])) for alike in groups.values()
    ]
    return Comparison(sorted(rows, key=lambda r: (r.data, r.network, r.ipc, r.protocol, -r.accuracy)))


def _differing(curve: list[MeasuredSet]) -> set[str]:
    """The fields in which sets of one curve differ although they have the same ipc."""
    settings = [(one.ipc, json.loads(one.setting)) for one in curve]
    return {
        path
        for ipc, mine in settings
        for path in mine
        if any(other.get(path) != mine[path] for its, other in settings if its == ipc)
    }


def _row(found: list[MeasuredSet], differing: set[str]) -> Row:
    """One row of the sets ``found``, which differ by their seed; it tells the fields ``differing``."""
    runs = list({one.seed: one for one in found}.values())
    first = runs[0]
    means = [one.score.mean for one in runs]
    deviations = [one.score.std for one in runs if len(one.score.values) > 1]
    seconds = [one.seconds for one in runs if one.seconds is not None]
    setting = json.loads(first.setting)
    return Row(
        method=first.method,
        data=first.data,
        ipc=first.ipc,
        protocol=first.short,
        network=first.network,
        accuracy=fmean(means),
        std_nets=fmean(deviations) if deviations else None,
        std_seeds=stdev(means) if len(means) > 1 else None,
        seeds=len(means),
        bytes=first.bytes,
        seconds=fmean(seconds) if seconds else None,
        setting=", ".join(f"{path}={_text(setting[path])}" for path in setting if path in differing),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
