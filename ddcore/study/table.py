"""The table: methods by data by images per class by seeds, beside what papers report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, ClassVar

from ddcore.bounds import Count, Positive
from ddcore.carriers.chosen import Chosen
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.datasets.base import DataSet, loaded
from ddcore.datasets.digits import Digits
from ddcore.errors import RecipeRefused
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.plan import Baseline, Experiment, Settings
from ddcore.experiment.running import run_or_resume
from ddcore.files import json_bytes, write_whole
from ddcore.host import Host
from ddcore.naming import in_line
from ddcore.plots import Line, Panel, Plot
from ddcore.published import published_accuracy
from ddcore.recipes import METHODS
from ddcore.report.tables import bytes_cell, plus_minus
from ddcore.study.base import ALL, Case, Found, Study, over_seeds, overrides_of
from ddcore.study.experiments import numbers_of
from ddcore.study.finding import Finding
from ddcore.types import Progress

REFERENCES = ("random", "herding")
"""What stands in every table."""
TIMED = 5
"""Steps after the first one by whose median the length of a run is chosen that shall take so many minutes."""


@dataclass(frozen=True)
class Table(Study):
    """Methods by data by images per class by seeds, with random, herding and whole beside them and what papers report.

    Real images that are chosen are as many as the bytes of so many float32 ones hold: 40 for 10 where they came as
    bytes. A cell is known by its recipe, the content of its data and the version of ddcore: none that has ended is run
    again.
    """

    in_part: ClassVar[bool] = True
    chooses: ClassVar[frozenset[str]] = frozenset({"data", "ipc", "methods", "seeds", "minutes", "overrides"})
    several: ClassVar[tuple[str, ...]] = ("data", "ipc", "methods")

    data: tuple[DataSet, ...] = field(default_factory=lambda: (Digits(),))
    """What is distilled."""
    ipc: tuple[Count, ...] = (1,)
    """Images per class."""
    methods: tuple[str, ...] = (ALL,)
    """By name (``ddcore list methods``); ``all`` for those of the core that the data suit."""
    seeds: Count = 3
    """Runs of each cell."""
    minutes: tuple[Positive, ...] = ()
    """CPU minutes that each method has to distil, a row for each of them: as many iterations as they give, by the time
    of its first ones, where what few of these take, such as the training of an expert, counts once. None where the
    minutes are over before the first; empty for the iterations of the recipes."""
    protocol: Protocol = field(default_factory=Protocol)
    """How networks are trained on what comes out."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipes by dotted path, in a table for each method: ``dm = {"objective.real" = 64}``; in that named
    ``all`` those of every method, which its own table may change."""

    def cases(self, host: Host) -> list[Case]:
        found = []
        for plan, ipc, seed in product(self.data, self.ipc, range(self.seeds)):
            data = loaded(plan)
            about = {"version": version("ddcore"), "content": data.train.content}
            for recipe, minutes, baselines in self._recipes(host, data, ipc):
                settings = Settings(plan, self.protocol, baselines).suited(host.catalogue)
                words = [data.card.name, recipe.name, f"ipc {ipc}", f"{minutes:g} min" if minutes else ""]
                said = {"recipe": replace(recipe, seed=0), "settings": settings, "ipc": ipc, "minutes": minutes}
                found.append(Case(", ".join(filter(None, words)), seed, {**said, **about}))
        return found

    def _recipes(self, host: Host, data: RealData, ipc: int) -> Iterator[tuple[Recipe, float, tuple[Baseline, ...]]]:
        """Each recipe with its minutes, 0 for none, and the baselines that are measured with it."""
        every = self._names()
        for name in every:
            try:
                changes = overrides_of(name, self.overrides, host)
                recipe = host.recipe(name, kind=data.card.kind, ipc=ipc, overrides=changes)
                if data.card.unit_range and isinstance(recipe.synthetic, Chosen) and recipe.synthetic.whole:
                    recipe = replace(recipe, synthetic=replace(recipe.synthetic, coarse=8))
                recipe.fitted(data.card).check(data.card, host.catalogue)
            except RecipeRefused:
                if name in {*self.methods, *self.overrides}:
                    raise
                continue
            baselines: tuple[Baseline, ...] = ("whole",) if name == every[0] else ()
            for minutes in map(float, self.minutes) if recipe.iterations else (0.0,):
                yield recipe, minutes, baselines
            if recipe.iterations and not self.minutes:
                yield recipe, 0.0, baselines

    def _names(self) -> list[str]:
        every = [method.__name__ for method in METHODS]
        named = [name for one in self.methods for name in (every if one == ALL else [one])]
        return list(dict.fromkeys([*REFERENCES, *named]))

    def run(self, case: Case, folder: Path, host: Host, device: str, progress: Progress | None) -> dict[str, Any]:
        about = case.description
        recipe = replace(about["recipe"], seed=case.seed)
        cell = {"data": loaded(about["settings"].data).card.name, "ipc": about["ipc"], "minutes": about["minutes"]}
        if about["minutes"]:
            recipe = replace(recipe, iterations=_iterations(recipe, about, folder, host, device, progress))
            if not recipe.iterations:
                return {"method": recipe.name, **cell, "iterations": 0}
        experiment = Experiment(recipe, about["settings"])
        metrics = run_or_resume(experiment, folder, host=host, device=device, progress=progress)
        return {**numbers_of(metrics), **cell, "short": metrics.get("short", []), "iterations": recipe.iterations}

    def summarise(self, found: Sequence[Found]) -> Finding:
        rows = [row for alike in over_seeds(found) for row in _rows([one.numbers for one in alike])]
        rows.sort(key=_order)
        head = ["data", "ipc", "method", "network", "accuracy ± nets", "± seeds (n)", "published", "bytes"]
        head += ["seconds", "MiB", "iterations"]
        late = [
            "{method} on {data}, ipc {ipc}, {minutes:g} min, seed {seed}".format(**one.numbers, seed=one.case.seed)
            for one in found
            if "scores" not in one.numbers
        ]
        left = sorted({*self._names()} - {row["method"] for row in rows})
        says = [
            "On the test split: mean, deviation over the networks of one run and, apart, over the runs of several"
            " seeds; stored bytes, seconds of distilling, most memory of the process. Real images that are chosen are"
            " at the bytes of the others, whole is all of T; published numbers are by their papers' protocols.",
            f"Protocol: {in_line(self._said())}.",
            *([f"The minutes of these were over before their first step: {'; '.join(late)}."] if late else []),
            *([f"Not in the table (unsuited to the data, or not ended): {', '.join(left)}."] if left else []),
            *dict.fromkeys(sentence for one in found for sentence in one.numbers.get("short", ())),
        ]
        return Finding(head, [_cells(row) for row in rows], {"rows": rows}, " ".join(says), tuple(_plots(rows)))

    def _said(self) -> dict[str, Any]:
        p = self.protocol
        length = {"epochs": p.epochs} if p.epochs else {"steps": p.steps or "as many as suit each set"}
        return {"name": p.part_name(), **length, "batch": p.batch, "lr": list(p.lr), "nets": p.repeats}


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """By data, size and network, the best first, and those that have no accuracy last."""
    mean = row["mean"]
    return row["data"], row["ipc"], not row["begun"], row["network"], mean is None, -(mean or 0.0)


class _Spent(Exception):
    """The minutes of a case are over."""


def _iterations(recipe: Recipe, about: Any, folder: Path, host: Host, device: str, progress: Progress | None) -> int:
    """As many iterations as the minutes of the case give, found once for its folder; 0 where none is left for one."""
    kept = folder / "budget.json"
    if kept.exists():
        return int(json.loads(kept.read_text())["iterations"])
    clock = time.process_time if device == "cpu" else time.perf_counter
    long = replace(recipe, iterations=max(recipe.iterations, 1 + TIMED))
    given, began = 60 * about["minutes"], clock()

    def watched(what: str, done: int, of: int) -> None:
        if clock() - began > given:
            raise _Spent
        if progress:
            progress(what, done, of)

    run = host.start(long, loaded(about["settings"].data), device=device, progress=watched)
    steps: list[float] = []
    try:
        while run.step < 1 + TIMED:
            run.run_until(run.step + 1)
            steps.append(clock() - began - sum(steps))
        each = max(median(steps[1:]), 1e-6)
        found = max(1, int((given - sum(step - each for step in steps)) / each))
    except _Spent:
        found = len(steps)
    write_whole(kept, json_bytes({"iterations": found, "steps": steps}))
    return found


def _rows(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each network of runs that differ by their seed alone, and for whole where it was measured with them.

    Those that had no time for a step have one row, where none of them had.
    """
    begun = [run for run in runs if "scores" in run]
    if not begun:
        same = {name: runs[0][name] for name in ("data", "ipc", "method", "minutes", "iterations")}
        none = dict.fromkeys(("std_nets", "std_seeds", "published", "bytes", "seconds", "mib"))
        yield {**same, **none, "network": "-", "mean": None, "seeds": 0, "nets": 0, "begun": False}
        return
    one = begun[0]
    sets = {one["method"]: ([run["scores"] for run in begun], one["bytes"])}
    if "whole" in one["baselines"]:
        sets["whole"] = ([run["baselines"]["whole"] for run in begun], one["baseline_bytes"]["whole"])
    for method, (scores, size) in sets.items():
        own, measure = method == one["method"], one["chosen_by"]
        for network in scores[0][measure]:
            each = [score[measure][network] for score in scores]
            means = [score["mean"] for score in each if score["mean"] is not None]
            yield {
                **{"data": one["data"], "ipc": one["ipc"], "method": method, "network": network, "bytes": size},
                "mean": fmean(means) if means else None,
                "std_nets": fmean(score["std"] for score in each if score["std"] is not None) if means else None,
                "std_seeds": stdev(means) if len(means) > 1 else None,
                "seeds": len(means),
                "nets": len(each[0]["values"]),
                "published": published_accuracy(method, one["data"], one["ipc"]),
                "seconds": fmean(run["seconds"]["distilling"] for run in begun) if own else None,
                "mib": max(run["peak_mib"] for run in begun) if own else None,
                "iterations": one["iterations"] if own else None,
                "minutes": one["minutes"] if own else 0.0,
                "begun": True,
            }


def _cells(row: dict[str, Any]) -> list[str]:
    def told(value: float | None, text: str = "{:g}") -> str:
        return "-" if value is None else text.format(value)

    minutes = f" ({row['minutes']:g} min)" if row["minutes"] else ""
    nothing = "diverged" if row["begun"] else "not begun"
    return [
        *(row["data"], str(row["ipc"]), row["method"] + minutes, row["network"]),
        plus_minus(row["mean"], row["std_nets"], row["nets"]) if row["seeds"] else nothing,
        "-" if row["std_seeds"] is None else f"{row['std_seeds']:.1f} ({row['seeds']})",
        told(row["published"]),
        "-" if row["bytes"] is None else bytes_cell(row["bytes"]),
        told(row["seconds"], "{:.1f}"),
        told(row["mib"]),
        told(row["iterations"]),
    ]


def _plots(rows: list[dict[str, Any]]) -> Iterator[Plot]:
    """The accuracy against stored bytes, a panel per data, and against the minutes that were given, or were taken where
    none were given, a panel per size too."""
    shown = [row for row in rows if row["seeds"]]
    places = list(dict.fromkeys((row["data"], row["network"]) for row in shown))
    sizes = sorted({row["ipc"] for row in shown})
    stored, taken = [], []
    for place in places:
        here = [row for row in shown if (row["data"], row["network"]) == place]
        stored.append([Panel(_lines(here, lambda row: row["bytes"], ["whole"]), "{}, {}".format(*place), "x")])
        levels = [*REFERENCES, "whole"]
        taken.append([])
        for ipc in sizes:
            lines = _lines([row for row in here if row["ipc"] == ipc], _minutes, levels)
            taken[-1].append(Panel(lines, "{}, {}, ipc {}".format(*place, ipc), "x"))
    yield Plot("bytes", "stored", "test accuracy (%)", stored, unit="B")
    yield Plot("minutes", "minutes of distilling", "test accuracy (%)", taken, unit="")


def _minutes(row: dict[str, Any]) -> float:
    return row["minutes"] or row["seconds"] / 60


def _lines(rows: list[dict[str, Any]], at: Callable[[dict[str, Any]], float], levels: Sequence[str]) -> list[Line]:
    """A line for each method, and a level across the panel for those that are named in ``levels``."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        if method in levels:
            lines.append(Line(method, [max(row["mean"] for row in mine)], reference=True))
            continue
        mine.sort(key=at)
        bars = [row["std_seeds"] or row["std_nets"] or 0.0 for row in mine]
        lines.append(Line(method, [row["mean"] for row in mine], list(map(at, mine)), bars, method in REFERENCES))
    return lines
