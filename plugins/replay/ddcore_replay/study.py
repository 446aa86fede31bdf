"""The study: memories side by side on one class-incremental stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch

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
    experience next to those of training on it.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"memories", "seeds"})
    several: ClassVar[tuple[str, ...]] = ("memories", "ways", "seeds")

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

    def cases(self, host: dd.Host) -> list[dd.Case]:
        for seed in self.seeds if self.shuffled else self.seeds[:1]:
            stream = self._stream(seed)
            for memory in self.memories:
                memory.check_stream(stream, host)
        return [dd.Case(memory.label, seed, {"memory": memory}) for seed in self.seeds for memory in self.memories]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        """The course of each way."""
        memory, seed = case.description["memory"], case.seed or 0
        stream = self._stream(seed)
        ways: list[Way] = [way for way in self.ways if way in suits(memory)] or list(suits(memory))
        kept = memory.build(stream.card, seed, device, host)
        courses = go(stream, kept, self.training, ways, seed=seed, device=device)
        return {way: asdict(course) for way, course in courses.items()}

    def _stream(self, seed: int) -> Stream:
        data, order = dd.loaded(self.data), None
        if self.shuffled:
            order = torch.randperm(data.card.classes, generator=dd.Streams(seed)["classes"]).tolist()
        return Stream.of(data, self.classes_each, order)

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        told = []
        for alike in dd.over_seeds(found):
            memory = alike[0].case.description["memory"]
            named = {"memory": memory.label, "budget": budget(memory)}
            told += [{**named, "way": way, **summary([one.numbers[way] for one in alike])} for way in alike[0].numbers]
        plots = (_plot_experiences(told), _plot_memory(told))
        return dd.Finding(*_table(told), {"memories": told}, _says(told), plots)


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


def _plot_experiences(told: list[dict[str, Any]]) -> dd.Plot:
    """A panel for each way and budget; what has no budget stands in all of its way."""
    panels = []
    for way in dict.fromkeys(t["way"] for t in told):
        row = []
        for budget in [b for b in dict.fromkeys(t["budget"] for t in told) if b] or [""]:
            lines = []
            for t in (t for t in told if t["way"] == way and t["budget"] in (budget, "")):
                means, stds = ([point[name] for point in t["curve"]] for name in ("mean", "std"))
                lines.append(dd.Line(t["memory"], means, range(1, len(means) + 1), stds, reference=not t["budget"]))
            row.append(dd.Panel(lines, f"{TITLES[way]}, {budget}" if budget else TITLES[way]))
        panels.append(row)
    return dd.Plot("experiences", "experiences", "average accuracy on those so far (%)", panels)


def _plot_memory(told: list[dict[str, Any]]) -> dd.Plot:
    """A panel for each way; what has no budget is a line across all."""
    row = []
    for way in dict.fromkeys(t["way"] for t in told):
        points = defaultdict(list)
        for t in (t for t in told if t["budget"] and t["way"] == way):
            accuracy = t["average_accuracy"]
            points[t["memory"]].append((t["nbytes"], accuracy["mean"], accuracy["std"]))
        lines = []
        for memory, found in points.items():
            x, y, bars = zip(*sorted(found), strict=True)
            lines.append(dd.Line(memory, y, x, bars))
        lines += [
            dd.Line(t["memory"], [t["average_accuracy"]["mean"]], reference=True) for t in told if not t["budget"]
        ]
        row.append(dd.Panel(lines, TITLES[way], "x"))
    return dd.Plot("memory", "bytes of memory", "average accuracy at the end (%)", [row])
