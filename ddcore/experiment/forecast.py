"""What an experiment will take, from a few of its steps: seconds, memory, bytes, and what it asks of T."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.device import held_mib
from ddcore.errors import RecipeRefused
from ddcore.evaluation.diverged import measured
from ddcore.evaluation.training import to_train
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.experiment.evaluating import check_baselines
from ddcore.experiment.plan import Experiment
from ddcore.experiment.reading import checked_data, preprocess_of
from ddcore.gate.base import Gate
from ddcore.gate.fit import Fit
from ddcore.gate.wrapped import WrappedGate
from ddcore.host import Host
from ddcore.memory import memory
from ddcore.packing import NONE, dotted, overridden, to_dict
from ddcore.policies.base import Policy
from ddcore.policies.experts import Experts
from ddcore.preprocess import Fitted
from ddcore.run import Run
from ddcore.store import Store
from ddcore.types import Draw, Params, Progress

TIMED = 4
"""Steps of a stage that are timed; the first one, which warms up, does not count."""
ITEMS = 256
"""Items that trained networks are measured on; on a GPU a whole chunk, which its memory has to hold."""
FULL = 0.8
"""Share of the memory from which on it is said what would take less."""
SMALLER = ("objective.real", "objective.batch", "network.width", "synthetic.ipc")
"""Fields of recipes that memory grows with."""


@dataclass(frozen=True)
class Stage:
    """A part of the work, and how long it will take."""

    name: str
    timed: int
    """Steps that were timed."""
    of: int
    """Steps in all."""
    seconds: float
    """For all of them."""


@dataclass(frozen=True)
class Forecast:
    """What an experiment will take."""

    stages: tuple[Stage, ...]
    peak_mib: float
    """The most memory that a few of its steps held, the program included; on a GPU, of the GPU's."""
    room_mib: float
    """Memory that the machine, or the GPU, has."""
    nbytes: int
    """Stored bytes of the distilled set."""
    asks: tuple[str, ...]
    """The disclosures that the recipe asks of the gate."""
    gate: str
    smaller: tuple[str, ...]
    """Fields that memory grows with, as they are, such as ``objective.real = 256``."""

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    def sentences(self) -> Iterator[str]:
        yield (
            f"About {duration(self.seconds)} in all on this machine as busy as it is now, and {self.peak_mib:.0f} MiB"
            f" of its {self.room_mib:.0f} MiB of memory. The set will take {self.nbytes} bytes."
        )
        asked = ", ".join(self.asks) or "nothing"
        yield f"Of the real data the recipe asks {asked}, through the gate {self.gate}."
        if self.peak_mib > FULL * self.room_mib and self.smaller:
            yield f"That is nearly all of the memory: it takes less with a smaller {', '.join(self.smaller)}."


class _Enough(Exception):
    """A stage has had its seconds."""


class _Watch:
    """When the steps of each stage ended; one that has not ended after ``seconds`` is broken off."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ticks: dict[str, list[float]] = {}
        self.of: dict[str, int] = {}

    def __call__(self, name: str, done: int, of: int) -> None:
        ticks = self.ticks.setdefault(name, [])
        ticks.append(time.perf_counter())
        self.of[name] = of
        if done < of and len(ticks) > TIMED and ticks[-1] - ticks[0] > self.seconds:
            raise _Enough

    def stages(self) -> Iterator[Stage]:
        for name, ticks in self.ticks.items():
            each = (ticks[-1] - ticks[0]) / max(1, len(ticks) - 1)
            yield Stage(name, len(ticks), self.of[name], each * self.of[name])


class _TimedFits(WrappedGate):
    """Another gate, which times what it fits."""

    def __init__(self, gate: Gate, whole: dict[Fit, Fit]) -> None:
        super().__init__(gate)
        self.whole = whole
        """The recipe's fits by those, shorter ones, that stand for them here."""
        self.done: list[tuple[Fit, Stage, bool]] = []
        """Each fit, how long it would be in full, and whether it tells its progress: then it is done once, not in each
        step."""

    def fit(self, draw: Draw, fit: Fit, stage: str = "", progress: Progress | None = None, *more: Any) -> list[Params]:
        began = time.perf_counter()
        way = self.gate.fit(draw, fit, stage, None, *more)
        each = (time.perf_counter() - began) / fit.length(items := len(self.source.store))
        full = self.whole[fit].length(items)
        self.done.append((fit, Stage(stage, fit.length(items), full, each * full), progress is not None))
        return way


class _Steps:
    """The seconds of each step of S: without the fits that are done once, and with the others at their full length."""

    def __init__(self, gate: _TimedFits) -> None:
        self.gate = gate
        self.seconds: list[float] = []
        self._before, self._fits = 0.0, 0

    def __call__(self, run: Run, record: dict[str, Any]) -> None:
        step = record["seconds"] - self._before
        for _, fit, once in self.gate.done[self._fits :]:
            step += (0.0 if once else fit.seconds) - fit.seconds * fit.timed / fit.of
        self.seconds.append(step)
        self._before, self._fits = record["seconds"], len(self.gate.done)

    @property
    def each(self) -> float:
        """That of a step that has no start and no warming up in it, if there was one."""
        return median(self.seconds[1:] or self.seconds)


def forecast(
    experiment: Experiment, *, host: Host | None = None, device: str = "cpu", seconds: float = 30.0
) -> Forecast:
    """What ``experiment`` will take, from a few steps of all that it does; nothing is written.

    Under a guarding gate the steps are done on noise of the size of the data, so that nothing of T is told. Experts
    count as if none was in their store yet.
    ``seconds``: the most that a stage before the first step of S is given.

    Raises:
        RecipeRefused: as the experiment itself would be; or a stage before the first step takes longer than
            ``seconds``, with what is known of it.
    """
    host = host or Host()
    data = checked_data(experiment, host, device)
    recipe, watch = experiment.recipe, _Watch(seconds)
    short = _in_short(recipe, host)
    run = host.start(short, data, device=device, progress=watch)
    if run.recipe.gate.guards:
        data = replace(data, train=_noise(data.train))
        run = host.start(short, data, device=device, progress=watch)
    check_baselines(experiment.settings, run.recipe, data, host)
    gate = _TimedFits(run.gate, _in_full(run.recipe, recipe))
    run.gate, run.ctx = gate, replace(run.ctx, gate=gate)
    run.on_step = steps = _Steps(gate)
    try:
        run.start()
        _check_stores(run, recipe, gate.whole)
        run.run_until(TIMED)
        distilled = run.export()
    except _Enough:
        *_, stage = watch.stages()
        raise RecipeRefused(
            f"{stage.name.capitalize()} will take about {duration(stage.seconds)}, and what comes after it has not been"
            f" timed: give it the time with --plan-seconds {math.ceil(1.2 * stage.seconds)}."
        ) from None
    stages = [*watch.stages(), *_fits(gate, run.recipe.policy)]
    if steps.seconds:
        stages.append(Stage("distilling", run.step, recipe.iterations, steps.each * recipe.iterations))
    preprocess = preprocess_of(distilled, host.catalogue)
    baselines = experiment.settings.baselines_of(run.recipe)
    given = (data, preprocess, experiment, device)
    of_small = list(_evaluating(distilled, *given))
    of_whole = list(_evaluating(Preprocessed(data.train, preprocess), *given)) if "whole" in baselines else []
    for name in ("distilled", *baselines):
        timed = of_whole if name == "whole" else of_small
        stages += [replace(stage, name=f"evaluating {name} on {stage.name}") for stage in timed]
    gpu = torch.cuda.get_device_properties(device).total_memory if torch.device(device).type == "cuda" else None
    fields = dotted(to_dict(run.recipe))
    return Forecast(
        stages=tuple(stages),
        peak_mib=held_mib(device),
        room_mib=(gpu or memory()) / 2**20,
        nbytes=distilled.nbytes,
        asks=tuple(sorted(run.recipe.asks)),
        gate=run.recipe.gate.part_name(),
        smaller=tuple(f"{path} (now {fields[path]})" for path in SMALLER if fields.get(path) is not None),
    )


def _noise(store: Store) -> Store:
    """As many items as ``store`` holds, of its shape and with its targets, that have nothing else of it."""
    shape, generator = store.inputs.shape, torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    inputs = noise if store.inputs.dtype == torch.uint8 else noise / 255
    return replace(store, inputs=inputs)


def _in_short(recipe: Recipe, host: Host) -> Recipe:
    """``recipe`` with short fits, whose experts are kept in no store: other runs would find them there."""
    changes: dict[str, Any] = {}
    for path, part in recipe.within():
        if isinstance(part, Fit):
            changes |= {f"{path}.steps": max(TIMED, part.snapshots), f"{path}.epochs": NONE}
        if isinstance(part, Experts):
            changes[f"{path}.store"] = NONE
    return overridden(recipe, changes, host.catalogue)


def _check_stores(run: Run, recipe: Recipe, whole: dict[Fit, Fit]) -> None:
    """Refuse a store of ``recipe`` that ``run``, which does without it, could not use in full, by ``whole``."""
    stores = {path: part.store for path, part in recipe.within() if isinstance(part, Experts) and part.store}
    for path, part in run.recipe.within():
        if isinstance(part, Experts) and path in stores:
            replace(part, fit=whole[part.fit], store=stores[path]).buffer(run.ctx)


def _in_full(short: Recipe, recipe: Recipe) -> dict[Fit, Fit]:
    """The fits of ``short``, each with what stands in its place in ``recipe``, where nothing is shortened."""
    of = {path: part for path, part in recipe.within() if isinstance(part, Fit)}
    return {
        fit: replace(fit, steps=of[path].steps, epochs=of[path].epochs)
        for path, fit in short.within()
        if isinstance(fit, Fit)
    }


def _fits(gate: _TimedFits, policy: Policy) -> Iterator[Stage]:
    """The fits that are done once, those of each kind together; of the policy's there are as many as it says."""
    of_policy = {part for _, part in policy.within()}
    for fit in dict.fromkeys(fit for fit, _, once in gate.done if once):
        seen = [stage for other, stage, once in gate.done if once and other == fit]
        many = policy.fits if fit in of_policy else 1
        seconds = many * median(stage.seconds for stage in seen)
        yield Stage(seen[0].name, seen[0].timed, many * seen[0].of, seconds)


def _evaluating(
    training: TrainingSet, data: RealData, preprocess: Fitted, experiment: Experiment, device: str
) -> Iterator[Stage]:
    """What training and measuring fresh nets on ``training`` takes, by the network's name."""
    protocol = experiment.settings.protocol
    steps = protocol.length(len(training)) if training.order is None else len(training.order)
    short = replace(protocol.without_teacher(), steps=TIMED, epochs=None, replay=False)
    for plan in protocol.networks:
        watch = _Watch(math.inf)
        lr, seed, where = protocol.lr[0], experiment.recipe.seed, torch.device(device)
        first = next(to_train(plan, training, data.card, short, lr, seed, where, watch))
        draw = first.draw
        (stage,) = watch.stages()
        items = min(len(data.test), ITEMS if where.type == "cpu" else max(ITEMS, first.chunk))
        test = Preprocessed(data.test.subset(torch.arange(items)), preprocess)
        began = time.perf_counter()
        for measure in protocol.measures:
            measured(measure, draw, test, first.chunk)
        measuring = (time.perf_counter() - began) * len(data.test) / len(test)
        rates = 1 if protocol.learned_lr else len(protocol.lr)
        nets = protocol.repeats / len(first.numbers)
        seconds = nets * (rates * stage.seconds / stage.of * steps + measuring)
        yield Stage(plan.part_name(), TIMED, steps * protocol.repeats * rates, seconds)


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
