"""Running an experiment: distil, evaluate beside the baselines, leave the files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.data import RealData
from ddcore.errors import DdcoreError, RankLost, RecipeRefused
from ddcore.experiment.evaluating import check_baselines, metrics_of
from ddcore.experiment.folder import CHECKPOINT_SECONDS, Folder, Recorder
from ddcore.experiment.plan import Experiment
from ddcore.experiment.reading import checked_data, preprocess_of
from ddcore.files import json_bytes, write_whole
from ddcore.gate.record import SpendRecord
from ddcore.host import Host
from ddcore.naming import in_line
from ddcore.networks.base import tried_once
from ddcore.ranks import joined, ranks
from ddcore.report.metrics import read_metrics
from ddcore.report.picture import write_images
from ddcore.report.report import write_report
from ddcore.run import Run
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

    Nothing is written before the data have been read and the recipe checked. Ctrl-C and SIGTERM wait for the end of the
    step in hand, which is kept. Of processes that torchrun has started together, which share the distilling, the first
    one writes and evaluates; the others answer no metrics.

    Raises:
        FolderHeld: another process is at work in the folder.
    """
    return _run(experiment, Folder(folder), host or Host(), device, checkpoint_seconds, progress, new=True)


def run_or_resume(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The metrics of the experiment in ``folder``: read if it is finished, continued if it stopped, else begun.

    Raises:
        RecipeRefused: the folder holds another experiment than ``experiment``.
        FolderHeld: another process is at work in it.
    """
    host, place = host or Host(), Folder(folder)
    if not place.recipe.exists():
        return run_experiment(experiment, folder, host=host, device=device, progress=progress)
    if differing := place.experiment(host.catalogue).differing(experiment):
        said = "; ".join(
            f"{path} is {in_line(there)} there and {in_line(here)} here" for path, (there, here) in differing.items()
        )
        raise RecipeRefused(f"{place.path} holds another experiment: {said}. Name another folder, or remove this one.")
    if place.metrics.exists():
        return read_metrics(place.path)[1]
    return resume(folder, host=host, device=device, progress=progress)


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
        BadCheckpoint: there is no experiment, or its checkpoint is damaged, another recipe's, or made on other data.
        FolderHeld: another process is at work in the folder.
    """
    host = host or Host()
    place = Folder(folder)
    experiment = place.experiment(host.catalogue)
    return _run(experiment, place, host, device, checkpoint_seconds, progress, new=False)


@tried_once()
def _run(
    experiment: Experiment,
    folder: Folder,
    host: Host,
    device: str,
    checkpoint_seconds: float,
    progress: Progress | None,
    new: bool,
) -> dict[str, Any]:
    with ExitStack() as until_the_end:
        with joined(device) as own:
            if ranks().first:
                until_the_end.enter_context(folder.held())
            run, data, distilled = _made(
                experiment, folder, host, own, checkpoint_seconds, progress if ranks().first else None, new
            )
            if not ranks().first:
                return {}
        with _going_on(folder):
            distilled.save(folder.distilled)
            run.trace.write(folder.trace)
            if host.kind(data.card.kind).picture:
                write_images(distilled, preprocess_of(distilled, host.catalogue), folder.images)
            metrics = metrics_of(experiment, run.recipe, distilled, data, host, own, progress)
            write_whole(folder.metrics, json_bytes(metrics))
            write_report(metrics, folder.report)
            return metrics


def _made(
    experiment: Experiment,
    folder: Folder,
    host: Host,
    device: str,
    checkpoint_seconds: float,
    progress: Progress | None,
    new: bool,
) -> tuple[Run, RealData, DistilledSet]:
    """The run of ``experiment``, its data, and the set that it has made; all processes that share it make it."""
    with ranks().first_alone():  # it may download
        data = checked_data(experiment, host, device)
    recorder = Recorder(folder, checkpoint_seconds, progress)
    run = host.start(
        experiment.recipe,
        data,
        device=device,
        on_step=recorder,
        progress=progress,
        on_pause=recorder.paused,
        on_distilled=recorder.distilled,
        record=SpendRecord(folder.spent),
    )
    check_baselines(experiment.settings, run.recipe, data, host)
    with ranks().first_alone():
        if new and ranks().first:
            folder.create(experiment, run)
        else:
            folder.restore(run)
    ranks().wait()
    with _going_on(folder):
        return run, data, _distilled(run, folder, recorder, new)


@contextmanager
def _going_on(folder: Folder) -> Iterator[None]:
    """What the machine, the user or another process ends says how to go on: ``folder`` has what it takes."""
    try:
        yield
    except BaseException as error:
        refused = isinstance(error, DdcoreError) and not isinstance(error, RankLost)
        if not refused and folder.recipe.exists() and not hasattr(error, "__notes__"):
            error.add_note(f"Go on with: {folder.resuming}")
        raise


def _distilled(run: Run, folder: Folder, recorder: Recorder, new: bool) -> DistilledSet:
    try:
        with recorder.watching(run):
            return run.hooks.ddcore_distill(run=run)
    except Exception as error:
        begun = run.step or (run.record.count if run.record else folder.state.exists())
        if recorder.saved:
            error.add_note(
                f"The distilled set was finished before a plugin's hook failed, and lies in {folder.distilled}."
                f" Once the plugin is repaired, go on with: {folder.resuming}"
            )
        elif new and ranks().first and not begun:
            folder.discard()
        raise
