"""The study: memories side by side on one class-incremental stream."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddcore import plugin as dd
from ddcore_replay.course import Training, Way, average_accuracy, backward_transfer, forgetting, go
from ddcore_replay.distilled import Distilled
from ddcore_replay.memory import Balanced, Bounded, Everything, Memory, Nothing, Reservoir
from ddcore_replay.stream import Stream


def _usual(size: int = 10) -> tuple[Memory, ...]:
    distilled = (Distilled(size=size, method=method, classes=10) for method in ("herding", "dm"))
    return (Nothing(), Reservoir(size=size), Balanced(size=size), *distilled, Everything())


@dataclass(frozen=True)
class Replay(dd.Study):
    """Class-incremental learning: each memory, in each way of using it, with each seed.

    It reports the average accuracy at the end, forgetting, backward transfer, bytes, and the seconds of condensing an
    experience next to those of training on it. Finished runs are kept in ``runs/``, so the same command continues.
    """

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data whose classes come in experiences."""
    classes_each: dd.Count = 2
    """Classes per experience."""
    memories: tuple[Memory, ...] = field(default_factory=_usual)
    """The memories that are compared, at least one."""
    ways: tuple[Way, ...] = ("rehearse", "scratch")
    """How a memory is used: ``rehearse`` adds its items to each experience, ``scratch`` trains a network on it
    alone."""
    training: Training = field(default_factory=Training)
    """How a network is trained after each experience."""
    seeds: tuple[dd.Whole, ...] = (0,)
    """Seeds of memories and training, at least one."""
    shuffled: bool = False
    """Whether the order of the classes is drawn from each seed; else it is that of their numbers."""

    def faults(self) -> Iterator[str]:
        for name in ("memories", "ways", "seeds"):
            if not getattr(self, name):
                yield f"{name} is empty: the study needs at least one"

    def conduct(self, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None) -> dd.Finding:
        data = self.data.load()
        runs = [(i, memory, seed) for seed in self.seeds for i, memory in enumerate(self.memories)]
        found: dict[tuple[int, Way], list[dict[str, Any]]] = defaultdict(list)
        for done, (i, memory, seed) in enumerate(runs, 1):
            path = folder / "runs" / f"{i:02}-{memory.label}-{seed}.json"
            if not path.exists():
                dd.write_whole(path, json.dumps(self._run(data, memory, seed, host, device)).encode())
            for way, course in json.loads(path.read_text()).items():
                found[i, way].append(course)
            if progress:
                progress(f"{memory.label}, seed {seed}", done, len(runs))
        told = [
            {"memory": self.memories[i].label, "budget": budget(self.memories[i]), "way": way, **summary(courses)}
            for (i, way), courses in found.items()
        ]
        _plot_experiences(told, folder / "experiences.png")
        _plot_memory(told, folder / "memory.png")
        return dd.Finding(*_table(told), {"memories": told}, _says(told))

    def _run(self, data: dd.RealData, memory: Memory, seed: int, host: dd.Host, device: str) -> dict[str, Any]:
        order = None
        if self.shuffled:
            order = torch.randperm(data.card.classes, generator=dd.Streams(seed)["classes"]).tolist()
        stream = Stream.of(data, self.classes_each, order)
        ways: list[Way] = [way for way in self.ways if way in suits(memory)] or list(suits(memory))
        courses = go(stream, memory.build(data.card, seed, device, host), self.training, ways, seed=seed, device=device)
        return {way: asdict(course) for way, course in courses.items()}


def suits(memory: Memory) -> tuple[Way, ...]:
    """The ways in which ``memory`` makes sense: there is nothing to train on in none, and all is there in all."""
    if isinstance(memory, Nothing):
        return ("rehearse",)
    return ("scratch",) if isinstance(memory, Everything) else ("rehearse", "scratch")


def budget(memory: Memory) -> str:
    """What bounds ``memory``, in words; nothing where nothing does."""
    if not isinstance(memory, Bounded):
        return ""
    said = [(memory.size, "images"), (memory.nbytes, "bytes")]
    return ", ".join(f"{bound} {unit}" for bound, unit in said if bound is not None)


def summary(courses: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers over the seeds."""
    matrices = [course["matrix"] for course in courses]
    steps = range(len(matrices[0]))
    return {
        "average_accuracy": dd.spread([average_accuracy(m) for m in matrices]),
        "forgetting": dd.spread([forgetting(m) for m in matrices]),
        "backward_transfer": dd.spread([backward_transfer(m) for m in matrices]),
        "curve": [dd.spread([average_accuracy(m, i) for m in matrices]) for i in steps],
        "matrices": matrices,
        "images": courses[0]["images"][-1],
        "nbytes": courses[0]["nbytes"][-1],
        "condensing": fmean(s for course in courses for s in course["condensing"]),
        "training": fmean(s for course in courses for s in course["training"]),
    }


def _table(told: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["memory", "way", "images", "bytes", "accuracy", "forgetting", "backward transfer"]
    rows = [
        [t["memory"], t["way"], str(t["images"]), str(t["nbytes"])]
        + [dd.plus_minus(**t[name]) for name in ("average_accuracy", "forgetting", "backward_transfer")]
        + [f"{t['condensing']:.1f}", f"{t['training']:.1f}"]
        for t in told
    ]
    return [*head, "s condensing", "s training"], rows


def _says(told: list[dict[str, Any]]) -> str:
    said = [
        f"Accuracy in percent over all experiences after the last, ± over {told[0]['average_accuracy']['n']} seeds;"
        " seconds by experience."
    ]
    for within in dict.fromkeys(t["budget"] for t in told if t["budget"]):
        best = max((t for t in told if t["budget"] == within), key=lambda t: t["average_accuracy"]["mean"])
        accuracy = dd.plus_minus(**best["average_accuracy"])
        said.append(f"Best within {within}: {best['memory']} ({best['way']}), {accuracy}.")
    return " ".join(said)


TITLES = {"rehearse": "rehearse: beside each experience", "scratch": "scratch: on the memory alone"}
MARKERS = "osD^vP*Xh<>"


def _plot_experiences(told: list[dict[str, Any]], path: Path) -> None:
    """A panel for each way and budget; what has no budget stands in all of its way."""
    budgets = [b for b in dict.fromkeys(t["budget"] for t in told) if b] or [""]
    ways = list(dict.fromkeys(t["way"] for t in told))
    figure = Figure(figsize=(2.2 + 3.6 * len(budgets), 0.6 + 3 * len(ways)), dpi=120, layout="constrained")
    panels = figure.subplots(len(ways), len(budgets), sharex=True, sharey=True, squeeze=False)
    looks = _looks(told)
    for row, way in zip(panels, ways, strict=True):
        for axes, budget in zip(row, budgets, strict=True):
            for t in told:
                if t["way"] == way and t["budget"] in (budget, ""):
                    means, stds = ([point[name] for point in t["curve"]] for name in ("mean", "std"))
                    axes.errorbar(range(1, len(means) + 1), means, stds, capsize=2, **looks[t["memory"]])
            axes.set_title(f"{TITLES[way]}, {budget}" if budget else TITLES[way], fontsize=9)
            axes.grid(alpha=0.3)
    panels[0][0].set_xticks(range(1, max(len(t["curve"]) for t in told) + 1))
    figure.supxlabel("experiences", fontsize=10)
    figure.supylabel("average accuracy on those so far (%)", fontsize=10)
    _finished(figure, panels.flat, path)


def _plot_memory(told: list[dict[str, Any]], path: Path) -> None:
    """A panel for each way; what has no budget is a line across all."""
    ways = list(dict.fromkeys(t["way"] for t in told))
    figure = Figure(figsize=(2.2 + 3.8 * len(ways), 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(ways), sharey=True, squeeze=False)[0]
    looks = _looks(told)
    for axes, way in zip(panels, ways, strict=True):
        lines = defaultdict(list)
        for t in told:
            accuracy = t["average_accuracy"]
            if not t["budget"]:
                plain = {"color": looks[t["memory"]]["color"], "label": t["memory"]}
                axes.axhline(accuracy["mean"], linestyle=":", **plain)
            elif t["way"] == way:
                lines[t["memory"]].append((t["nbytes"], accuracy["mean"], accuracy["std"]))
        for memory, points in lines.items():
            axes.errorbar(*zip(*sorted(points), strict=True), capsize=2, **looks[memory])
        axes.set(xscale="log")
        axes.margins(x=0.15)
        axes.set_title(TITLES[way], fontsize=9)
        axes.grid(alpha=0.3)
    figure.supxlabel("bytes of memory", fontsize=10)
    figure.supylabel("average accuracy at the end (%)", fontsize=10)
    _finished(figure, panels, path)


def _looks(told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each memory, the same in all panels; grey for what has no budget."""
    free = {t["memory"] for t in told if not t["budget"]}
    bounded = [m for m in dict.fromkeys(t["memory"] for t in told) if m not in free]
    looks = {m: {"color": "0.2" if m == "everything" else "0.6", "linestyle": ":", "marker": "."} for m in free}
    looks |= {m: {"color": f"C{i}", "marker": MARKERS[i % len(MARKERS)]} for i, m in enumerate(bounded)}
    return {m: {"markersize": 5, "label": m, **look} for m, look in looks.items()}


def _finished(figure: Figure, panels: Iterable[Axes], path: Path) -> None:
    named: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8)
    dd.replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))
