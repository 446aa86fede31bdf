"""Runs side by side: a table, CSV, and a plot."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ddcore.naming import table_labels
from ddcore.plots import Line, Panel, Plot
from ddcore.report.measured import MeasuredSet, measured_sets
from ddcore.report.metrics import MeasuredBy, MeasuredScore
from ddcore.report.tables import bytes_cell, markdown_table, measure_title, plus_minus

BARS = "bars: deviation over seeds, or over networks where there is a single run"


@dataclass(frozen=True)
class Spread:
    """One measure over the nets and the seeds of a row; NaN where all nets diverged."""

    mean: float
    std_nets: float | None
    """Standard deviation over the networks of one evaluation, averaged over the runs; None for a single network."""
    std_seeds: float | None
    """Standard deviation of the runs' means over their seeds; None for a single run."""
    runs: int
    """Runs of the row in which at least one net did not diverge."""
    diverged: int
    nets: int
    by: MeasuredBy

    @property
    def worth(self) -> float:
        """Higher is better."""
        return -math.inf if math.isnan(self.mean) else self.mean if self.by.higher_is_better else -self.mean

    def cells(self) -> tuple[str, str]:
        """Mean and deviation over nets, and the deviation over seeds."""
        lost = f", diverged {self.diverged} of {self.nets}" if self.diverged else ""
        if self.diverged == self.nets:
            return lost.lstrip(", "), "-"
        over_seeds = "-" if self.std_seeds is None else f"{self.std_seeds:.{self.by.digits}f} ({self.runs})"
        return plus_minus(self.mean, self.std_nets, digits=self.by.digits) + lost, over_seeds


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed, or one of their baselines."""

    method: str
    data: str
    ipc: int
    protocol: str
    network: str
    measure: str
    """The measure that chooses; it is shown first and in the plot."""
    scores: dict[str, Spread]
    """By measure."""
    seeds: int
    bytes: int
    seconds: float | None
    setting: str = ""
    """What tells these runs from others of their method that differ in more than the seed."""
    warnings: tuple[str, ...] = ()
    """What whoever is shown one of the sets must read."""

    @property
    def label(self) -> str:
        return f"{self.method} ({self.setting})" if self.setting else self.method

    @property
    def first(self) -> Spread:
        return self.scores[self.measure]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    rows: list[Row]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as text; the protocol is a column only where there are several."""
        several = len({row.protocol for row in self.rows}) > 1
        measures = self.measures
        titles = [[f"{name.replace('_', ' ')} ± nets", "± seeds (n)"] for name in measures]
        head = ["method", "data", "ipc", "network", *chain(*titles), "bytes", "seconds"]
        return [*head, *["protocol"] * several], [
            [
                *(row.label, row.data, str(row.ipc), row.network),
                *chain(*(row.scores[name].cells() if name in row.scores else ("-", "-") for name in measures)),
                bytes_cell(row.bytes),
                "-" if row.seconds is None else f"{row.seconds:.1f}",
                *[row.protocol] * several,
            ]
            for row in self.rows
        ]

    @property
    def measures(self) -> dict[str, MeasuredBy]:
        """All measures, the one that chooses first."""
        firsts = {row.measure: row.first.by for row in self.rows}
        return firsts | {name: score.by for row in self.rows for name, score in row.scores.items()}

    def says(self) -> str:
        """How it was measured."""
        protocols = ", or ".join(sorted({row.protocol for row in self.rows}))
        measures = "; ".join(measure_title(name, by.model_dump()) for name, by in self.measures.items())
        what = "mean, deviation over networks, deviation over seeds (runs)"
        return f"On the test split ({protocols}): {what} of {measures}."

    def warnings(self) -> list[str]:
        """What whoever is shown the sets must read, each with the row that it is of."""
        said = [f"Warning, {row.label} on {row.data}: {sentence}" for row in self.rows for sentence in row.warnings]
        return list(dict.fromkeys(said))

    def markdown(self) -> str:
        """The table with how it was measured below, and the warnings."""
        below = [self.says(), *self.warnings()]
        return f"{markdown_table(*self.table())}\n" + "\n\n".join(below) + "\n"

    def csv(self) -> str:
        text = io.StringIO()
        rows = [flat(row) for row in self.rows]
        writer = csv.DictWriter(text, list(dict.fromkeys(chain(*rows))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def picture(self, name: str) -> Plot:
        """The measure that chooses against stored bytes: a line per method, a panel per data set and network."""
        places = sorted({(row.data, row.network, row.protocol, row.measure) for row in self.rows})
        panels, titles = [], {}
        for place in places:
            shown = [row for row in self.rows if (row.data, row.network, row.protocol, row.measure) == place]
            titles[measure_title(place[-1], shown[0].first.by.model_dump())] = True
            stored = [row.bytes for row in shown if row.label != "whole"] or [row.bytes for row in shown]
            lines = [
                _line([row for row in shown if row.label == label]) for label in dict.fromkeys(r.label for r in shown)
            ]
            panels.append([Panel(lines, "{}, {}\n{}".format(*place), "x" if max(stored) > 3 * min(stored) else "")])
        return Plot(name, f"stored\n({BARS})", f"test {' or '.join(titles)}", panels, unit="B", shared=False)

    def plot(self, path: Path) -> Path:
        """Save :meth:`picture` as PNG at ``path``."""
        return self.picture(path.stem).save(path)


def _line(rows: list[Row]) -> Line:
    rows = sorted(rows, key=lambda row: row.bytes)
    label = rows[0].label
    if label == "whole":
        return Line(label, [rows[0].first.mean], reference=True)
    firsts = [row.first for row in rows]
    bars = [(first.std_nets if first.std_seeds is None else first.std_seeds) or 0 for first in firsts]
    means = [first.mean for first in firsts]
    return Line(
        label, means, [row.bytes for row in rows], bars, reference=label.split(",")[0] in ("random", "herding", "el2n")
    )


def compare(folders: Iterable[str | Path]) -> Comparison:
    """The runs in ``folders`` side by side; those that differ only in their seed share a row.

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
    plans = list(dict.fromkeys(one.network for one in firsts))
    networks = dict(zip(plans, table_labels([json.loads(plan) for plan in plans]), strict=True))
    rows = [
        _row(alike, networks[alike[0].network], _differing([one for one in firsts if one.curve == alike[0].curve]))
        for alike in groups.values()
    ]
    return Comparison(sorted(rows, key=lambda r: (r.data, r.network, r.ipc, r.protocol, -r.first.worth)))


def flat(row: Row) -> dict[str, Any]:
    """``row`` as columns, a few for each measure."""
    scores = {
        f"{name}{suffix}": value
        for name, score in row.scores.items()
        for suffix, value in {
            "": score.mean,
            "_std_nets": score.std_nets,
            "_std_seeds": score.std_seeds,
            "_diverged": score.diverged,
        }.items()
    }
    plain = {field.name: getattr(row, field.name) for field in fields(Row)}
    del plain["scores"]
    return plain | {"warnings": " ".join(row.warnings)} | scores


def _differing(curve: list[MeasuredSet]) -> set[str]:
    """The fields in which sets of one curve differ although they have the same ipc."""
    settings = [(one.ipc, json.loads(one.setting)) for one in curve]
    return {
        path
        for ipc, mine in settings
        for path in mine
        if any(other.get(path) != mine[path] for its, other in settings if its == ipc)
    }


def _spread(scores: list[MeasuredScore], by: MeasuredBy) -> Spread:
    """One measure over runs."""
    values = [value for score in scores for value in score.values]
    means = [score.mean for score in scores if score.mean is not None]
    deviations = [score.std for score in scores if score.std is not None and len(score.values) > 1]
    return Spread(
        mean=fmean(means) if means else math.nan,
        std_nets=fmean(deviations) if deviations else None,
        std_seeds=stdev(means) if len(means) > 1 else None,
        runs=len(means),
        diverged=values.count(None),
        nets=len(values),
        by=by,
    )


def _row(found: list[MeasuredSet], network: str, differing: set[str]) -> Row:
    """One row of the sets ``found``, which differ by their seed; it tells the fields ``differing``."""
    runs = list({one.seed: one for one in found}.values())
    first = runs[0]
    measures = {name: by for one in runs for name, by in one.measures.items() if name in one.scores}
    seconds = [one.seconds for one in runs if one.seconds is not None]
    setting = json.loads(first.setting)
    return Row(
        method=first.method,
        data=first.data,
        ipc=first.ipc,
        protocol=first.short,
        network=network,
        measure=first.first,
        scores={n: _spread([one.scores[n] for one in runs if n in one.scores], by) for n, by in measures.items()},
        seeds=len(runs),
        bytes=first.bytes,
        seconds=fmean(seconds) if seconds else None,
        setting=", ".join(f"{path}={_text(setting[path])}" for path in setting if path in differing),
        warnings=tuple(dict.fromkeys(chain.from_iterable(one.warnings for one in runs))),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
