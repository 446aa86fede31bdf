"""Running an experiment: distil, evaluate beside the baselines, leave the files."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.device import check_device, peak_mib
from ddcore.errors import RecipeRefused
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.scores import Scores
from ddcore.evaluation.scores import evaluate as score
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.experiment.folder import CHECKPOINT_SECONDS, Folder, Recorder
from ddcore.experiment.plan import BASELINES, Experiment, Settings
from ddcore.experiment.reading import NOTHING_TO_TEACH_BY, needed_targets, papers_of, preprocess_of
from ddcore.files import write_whole
from ddcore.host import Host
from ddcore.packing import to_dict
from ddcore.report.picture import write_images
from ddcore.report.report import write_report
from ddcore.types import Progress


def run_experiment(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Distil, evaluate beside the baselines, and leave the files of :class:`Folder`; answers the metrics.

    Nothing is written before the data have been read and the recipe checked.
    """
    return _conduct(experiment, Folder(folder), host or Host(), device, checkpoint_seconds, progress, new=True)


def run_or_resume(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The metrics of the experiment in ``folder``: read if it is finished, gone on with if it stopped, else begun.

    What lies in the folder is taken as it is, whatever ``experiment`` says.
    """
    place = Folder(folder)
    if place.metrics.exists():
        return json.loads(place.metrics.read_text())
    if place.recipe.exists():
        return resume(folder, host=host, device=device, progress=progress)
    return run_experiment(experiment, folder, host=host, device=device, progress=progress)


def resume(
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Go on with the experiment in ``folder`` from its last checkpoint; the tensors come out bit for bit the same.

    Raises:
        BadCheckpoint: there is no experiment, or its checkpoint is damaged or another recipe's.
    """
    host = host or Host()
    place = Folder(folder)
    return _conduct(place.experiment(host.catalogue), place, host, device, checkpoint_seconds, progress, new=False)


def _conduct(
    experiment: Experiment,
    folder: Folder,
    host: Host,
    device: str,
    checkpoint_seconds: float,
    progress: Progress | None,
    new: bool,
) -> dict[str, Any]:
    check_device(device)
    data = _loaded(experiment)
    experiment.settings.protocol.check(data)
    if experiment.settings.protocol.temperature is not None and not experiment.recipe.labels.teaches:
        raise RecipeRefused(NOTHING_TO_TEACH_BY.format(experiment.settings.protocol.temperature))
    recorder = Recorder(folder, checkpoint_seconds, progress)
    run = host.start(
        experiment.recipe,
        data,
        device=device,
        on_step=recorder,
        progress=progress,
        on_pause=recorder.paused,
        on_distilled=recorder.distilled,
    )
    if new:
        folder.create(experiment)
    else:
        folder.restore(run)
    try:
        distilled = run.hooks.ddcore_distill(run=run)
    except Exception as error:
        if recorder.saved:
            error.add_note(
                f"The distilled set was finished before a plugin's hook failed, and lies in {folder.distilled}."
                f" Once the plugin is repaired, go on with: ddcore resume {folder.path}"
            )
        elif new and not run.step and not folder.state.exists():
            folder.discard()
        raise
    distilled.save(folder.distilled)
    write_images(distilled, preprocess_of(distilled, host.catalogue), folder.images)

    metrics = _metrics(experiment, run.recipe, distilled, data, host, device, progress)
    write_whole(folder.metrics, (json.dumps(metrics, indent=2) + "\n").encode())
    write_report(metrics, folder.report)
    return metrics


def evaluate_saved(
    place: str | os.PathLike[str],
    settings: Settings,
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a distilled set, a file or a folder's, under ``settings``; answers the metrics and writes nothing.

    Raises:
        RecipeRefused: the data of ``settings`` have another shape or other classes than the distilled set.
    """
    host, path = host or Host(), Path(place)
    check_device(device)
    distilled = DistilledSet.load(Folder(path).distilled if path.is_dir() else path)
    experiment = Experiment(Recipe.from_toml(distilled.recipe, host.catalogue), settings)
    data = _loaded(experiment)
    mine, real = distilled.data, data.card
    if (mine.shape, mine.classes) != (real.shape, real.classes):
        raise RecipeRefused(
            f"{path} holds items {mine.shape} of {mine.classes} classes, distilled from {mine.name}; {real.name} has"
            f" {real.shape} of {real.classes}. Name the data it was made for with --data."
        )
    return _metrics(experiment, experiment.recipe.fitted(real), distilled, data, host, device, progress)


def _loaded(experiment: Experiment) -> RealData:
    data, validation = experiment.settings.data.load(), experiment.settings.validation
    return data if validation is None else data.with_validation(validation, experiment.recipe.seed)


def _metrics(
    experiment: Experiment,
    recipe: Recipe,
    distilled: DistilledSet,
    data: RealData,
    host: Host,
    device: str,
    progress: Progress | None,
) -> dict[str, Any]:
    began = time.perf_counter()
    guarded, settings = recipe.gate.guards, experiment.settings
    baselines = settings.baselines
    if baselines is None:
        baselines = () if guarded else BASELINES
    scores, sizes = evaluate_all(distilled, data, settings.protocol, baselines, host, device, progress)
    past_the_gate = [*baselines, *(["the validation split"] if settings.validation is not None else [])]
    return {
        "method": distilled.method,
        "data": data.card.name,
        "ipc": recipe.ipc,
        "seed": recipe.seed,
        "network": str(recipe.network),
        "accuracy": _plain(scores.pop("distilled")),
        "baselines": {name: _plain(score) for name, score in scores.items()},
        "bytes": sizes.pop("distilled"),
        "baseline_bytes": sizes,
        "uncovered": past_the_gate if guarded else [],
        "seconds": {
            "distilling": round(distilled.facts["seconds"], 2),
            "evaluating": round(time.perf_counter() - began, 2),
        },
        "peak_mib": round(peak_mib()),
        "protocol": to_dict(settings.protocol),
        "steps": distilled.facts["steps"],
        "versions": {**distilled.versions, "python": platform.python_version()},
        "facts": distilled.facts,
        "cites": [paper.bibtex() for paper in papers_of(recipe, host)],
    }


def evaluate_all(
    distilled: DistilledSet,
    data: RealData,
    protocol: Protocol,
    baselines: Sequence[str],
    host: Host,
    device: str,
    progress: Progress | None,
) -> tuple[dict[str, Scores], dict[str, int]]:
    """Scores and stored bytes of the distilled set (``distilled``) and of each baseline; one protocol, one seed."""
    preprocess = preprocess_of(distilled, host.catalogue)
    recipe = Recipe.from_toml(distilled.recipe, host.catalogue)
    sets: dict[str, Callable[[], TrainingSet]] = {
        "distilled": lambda: distilled,
        "whole": lambda: Preprocessed(data.train, preprocess),
    }
    for name in ("random", "herding"):
        sets[name] = lambda name=name: host.distill(
            replace(
                host.recipe(name, ipc=recipe.ipc),
                network=recipe.network,
                preprocess=recipe.preprocess,
                seed=recipe.seed,
            ),
            data,
            device=device,
        )

    def told(name: str) -> Progress | None:
        say = progress
        return (lambda what, done, of: say(f"{name}: {what}", done, of)) if say else None

    scores, sizes = {}, {}
    for name in ("distilled", *baselines):
        training = sets[name]()
        teacher_targets = needed_targets(distilled, protocol, host.catalogue, device) if training is distilled else None
        scores[name] = score(training, data, preprocess, protocol, recipe.seed, device, told(name), teacher_targets)
        sizes[name] = training.nbytes
    return scores, sizes


def evaluate(
    distilled: DistilledSet,
    data: RealData,
    protocol: Protocol | None = None,
    *,
    seed: int = 0,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Scores:
    """Train fresh networks on ``distilled`` and measure them on ``data.test``."""
    catalogue = (host or Host()).catalogue
    protocol, preprocess = protocol or Protocol(), preprocess_of(distilled, catalogue)
    teacher_targets = needed_targets(distilled, protocol, catalogue, device)
    return score(distilled, data, preprocess, protocol, seed, device, progress, teacher_targets)


def _plain(scores: Scores) -> dict[str, Any]:
    return {
        network: {"mean": score.mean, "std": score.std, "values": list(score.values), "lr": score.lr}
        for network, score in scores["accuracy"].items()
    }
