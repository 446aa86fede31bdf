"""An experiment: a recipe on a data set, evaluated beside its baselines, in one folder that can be resumed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import tomli_w
import torch

from ddcore.artefact import DistilledSet
from ddcore.data import RealData
from ddcore.datasets import DataSet
from ddcore.errors import BadArtefact, BadCheckpoint, RecipeRefused
from ddcore.evaluate import Lessons, Preprocessed, Protocol, Scores, TrainingSet, Tutor, Views
from ddcore.evaluate import evaluate as score
from ddcore.files import replaced_whole, write_whole
from ddcore.host import Host
from ddcore.memory import check_device, peak_mib
from ddcore.parts import Catalogue, Part, from_dict, parse_toml, to_dict
from ddcore.preprocess import Fitted, Preprocess
from ddcore.recipe import Recipe
from ddcore.report import write_images, write_report
from ddcore.run import Run
from ddcore.types import Citation, Draw, Progress

BASELINES = ("random", "herding", "whole")
"""What every result stands beside, under the same protocol."""

CHECKPOINT_SECONDS = 30.0
NOTHING_TO_TEACH_BY = (
    "The protocol has networks taught at temperature {:g}, but the set brings neither a teacher nor what one says of"
    " views: distil it with labels.name=taught and labels.keep=true or labels.views=30, or take a protocol without a"
    " temperature (quick)."
)


def data_set(catalogue: Catalogue, source: str, **fields: Any) -> DataSet:
    """The data set of that name, or the one that lies at that path (an ``.npz`` file, a folder of images).

    A name comes before a folder that is called so too, whose path is ``./NAME``. ``fields`` that are None are left to
    their defaults; paths are made absolute, so that a run can be resumed from anywhere.

    Raises:
        UnknownName: neither a name nor a path. RecipeRefused: a field that this data set does not have.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    named = source in {entry.name for entry in catalogue.of("data")}
    if not named and (os.sep in source or source.endswith(".npz") or Path(source).is_dir()):
        given["root"], source = source, "npz" if source.endswith(".npz") else "image_folder"
    if "root" in given:
        given["root"] = str(Path(given["root"]).expanduser().absolute())
    plan = catalogue.find("data", source).maker
    return from_dict(cast(type[DataSet], plan), given, catalogue, source)


@dataclass(frozen=True)
class Settings(Part, kind="settings"):
    """What an experiment needs beside its recipe."""

    data: DataSet
    protocol: Protocol = Protocol()
    baselines: tuple[Literal["random", "herding", "whole"], ...] | None = None
    """None: all three, or none where the recipe's gate guards T, past which they look."""
    validation: float | None = None
    """Share of T set aside before anything is distilled, for choosing among a protocol's learning rates."""


@dataclass(frozen=True)
class Experiment:
    """A recipe with its settings: what one recipe file says."""

    recipe: Recipe
    settings: Settings

    def folder(self) -> Path:
        """Where it goes unless it is told: ``runs/DATA-METHOD-ipcIPC-SEED``."""
        root = getattr(self.settings.data, "root", None)
        own = self.settings.data.part_name() in ("npz", "image_folder")
        data = Path(root).stem if own and root else self.settings.data.part_name()
        return Path("runs") / f"{data}-{self.recipe.name}-ipc{self.recipe.ipc}-{self.recipe.seed}"

    def to_toml(self) -> str:
        """The recipe's fields, with the settings in a table ``[experiment]``."""
        return tomli_w.dumps({**to_dict(self.recipe), "experiment": to_dict(self.settings)})

    @staticmethod
    def from_toml(text: str, catalogue: Catalogue, where: str = "the recipe file") -> Experiment:
        """Raises RecipeRefused or UnknownName where the text is not an experiment."""
        table = parse_toml(text, where)
        if "experiment" not in table:
            raise RecipeRefused(f"{where} names no data: add [experiment.data] with a name.")
        settings = table.pop("experiment")
        return Experiment(from_dict(Recipe, table, catalogue), from_dict(Settings, settings, catalogue, "experiment"))


class Folder:
    """Where an experiment leaves its files.

    ``recipe.toml`` (the experiment), ``checkpoint/run.pt``, ``records.jsonl`` (a line a step),
    ``distilled.safetensors``, ``images.png``, ``metrics.json``, ``report.md``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.records = self.path / "records.jsonl"
        self.state = self.path / "checkpoint" / "run.pt"
        self.distilled = self.path / "distilled.safetensors"
        self.images = self.path / "images.png"
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.md"

    def create(self, experiment: Experiment) -> None:
        """Raises RecipeRefused where another experiment lies there already."""
        if self.recipe.exists():
            raise RecipeRefused(
                f"{self.path} already holds an experiment. Continue it with `ddcore resume {self.path}`,"
                " or name another folder with --out."
            )
        write_whole(self.recipe, experiment.to_toml().encode())

    def discard(self) -> None:
        """Take back what :meth:`create` did, where nothing has come after it."""
        self.recipe.unlink()
        self.state.unlink(missing_ok=True)
        for folder in (self.state.parent, self.path):
            with suppress(OSError):
                folder.rmdir()

    def experiment(self, catalogue: Catalogue) -> Experiment:
        """Raises BadCheckpoint where no experiment lies there."""
        if not self.recipe.exists():
            raise BadCheckpoint(f"{self.path} holds no experiment (there is no {self.recipe.name} in it).")
        return Experiment.from_toml(self.recipe.read_text(), catalogue, str(self.recipe))

    def checkpoint(self, run: Run) -> None:
        """Keep all that ``run`` needs to go on from here."""
        replaced_whole(self.state, lambda path: torch.save(run.state_dict(), path))

    def restore(self, run: Run) -> None:
        """Bring ``run`` to the last checkpoint, if there is one, and the records with it.

        Raises:
            BadCheckpoint: it is damaged, or belongs to another recipe or other data.
        """
        if not self.state.exists():
            self.records.unlink(missing_ok=True)
            return
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes torch say
            raise BadCheckpoint(
                f"{self.state} is damaged ({type(error).__name__}). Delete it to start anew."
            ) from error
        run.load_state_dict(state)
        lines = self.records.read_text().splitlines()[: run.step] if self.records.exists() else []
        write_whole(self.records, "".join(f"{line}\n" for line in lines).encode())


class Recorder:
    """Writes a run's records and checkpoints as it goes."""

    def __init__(self, folder: Folder, every: float, progress: Progress | None) -> None:
        self._folder = folder
        self._every = every
        self._progress = progress
        self._last = time.monotonic()

    def __call__(self, run: Run, record: dict[str, Any]) -> None:
        with self._folder.records.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._keep(run, run.step == run.recipe.iterations)
        if self._progress:
            self._progress(f"distilling, loss {record['loss']:.4g}", run.step, run.recipe.iterations)

    def paused(self, run: Run) -> None:
        """In mid-step, where the run could go on from."""
        self._keep(run)

    def _keep(self, run: Run, now: bool = False) -> None:
        if now or time.monotonic() - self._last >= self._every:
            self._folder.checkpoint(run)
            self._last = time.monotonic()


def conduct(
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


def conclude(experiment: Experiment, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The metrics of the experiment in ``folder``: read if it is finished, gone on with if it stopped, else begun.

    What lies in the folder is taken as it is, whatever ``experiment`` says.
    """
    place = Folder(folder)
    if place.metrics.exists():
        return json.loads(place.metrics.read_text())
    return resume(folder) if place.recipe.exists() else conduct(experiment, folder)


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
        experiment.recipe, data, device=device, on_step=recorder, progress=progress, on_pause=recorder.paused
    )
    if new:
        folder.create(experiment)
    else:
        folder.restore(run)
    try:
        distilled = run.hooks.ddcore_distill(run=run)
    except Exception:
        if new and not run.step and not folder.state.exists():
            folder.discard()
        raise
    distilled.save(folder.distilled)
    write_images(distilled, preprocess_of(distilled, host.catalogue), folder.images)

    metrics = _metrics(experiment, run.recipe, distilled, data, host, device, progress)
    write_whole(folder.metrics, (json.dumps(metrics, indent=2) + "\n").encode())
    write_report(metrics, folder.report)
    return metrics


def reevaluate(
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
        "cites": [paper.bibtex() for paper in _papers(recipe, host)],
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
        lessons = _lessons(distilled, protocol, host.catalogue, device) if training is distilled else None
        scores[name] = score(training, data, preprocess, protocol, recipe.seed, device, told(name), lessons)
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
    lessons = _lessons(distilled, protocol, catalogue, device)
    return score(distilled, data, preprocess, protocol, seed, device, progress, lessons)


def preprocess_of(distilled: DistilledSet, catalogue: Catalogue) -> Fitted:
    """The preprocessing that ``distilled`` went through, from its own tensors."""
    plan = cast(type[Preprocess], catalogue.find("preprocess", distilled.preprocess).maker)
    return plan().load(distilled.preprocess_state)


def lessons_of(distilled: DistilledSet, catalogue: Catalogue, device: str = "cpu") -> Lessons | None:
    """What ``distilled`` brings to be taught by, from its own tensors; views come before a teacher.

    Raises:
        BadArtefact: its teacher is not of the network that its recipe names.
    """
    held = {name: value.to(device) for name, value in distilled.teaching.items()}
    if "logits" in held:
        return Views(held["boxes"], held["logits"])
    if not held:
        return None
    card = distilled.data
    network = Recipe.from_toml(distilled.recipe, catalogue).network.fitted(card).build(card)
    params, buffers = (
        {name.removeprefix(kind): value for name, value in held.items() if name.startswith(kind)}
        for kind in ("params.", "buffers.")
    )
    for mine, own in zip((params, buffers), network.init(torch.Generator()), strict=True):
        if {name: value.shape for name, value in mine.items()} != {name: value.shape for name, value in own.items()}:
            raise BadArtefact("The set's teacher is not of the network that its recipe names: it cannot teach.")
    return Tutor(Draw(network, params, buffers))


def _lessons(distilled: DistilledSet, protocol: Protocol, catalogue: Catalogue, device: str) -> Lessons | None:
    """What ``protocol`` has networks taught by. Raises RecipeRefused where the set brings nothing of the kind."""
    if protocol.temperature is None:
        return None
    found = lessons_of(distilled, catalogue, device)
    if found is None:
        raise RecipeRefused(NOTHING_TO_TEACH_BY.format(protocol.temperature))
    return found


def cite(name: str, *, host: Host | None = None) -> list[Citation]:
    """The papers of a method and of the parts it uses, each once."""
    host = host or Host()
    return _papers(host.recipe(name), host)


def _papers(recipe: Recipe, host: Host) -> list[Citation]:
    """The papers of the method that ``recipe`` is called after, where there is one, and of its parts, each once."""
    makers = [entry.maker for entry in host.catalogue.of("method") if entry.name == recipe.name]
    return list(
        dict.fromkeys([*(paper for maker in makers for paper in getattr(maker, "cites", ())), *recipe.papers()])
    )


def _plain(scores: Scores) -> dict[str, Any]:
    return {
        network: {"mean": score.mean, "std": score.std, "values": list(score.values), "lr": score.lr}
        for network, score in scores["accuracy"].items()
    }
