"""Evaluating what an experiment made, beside the baselines."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from ddcore.artefact import DistilledSet
from ddcore.catalogue import Catalogue
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.device import check_device, peak_mib
from ddcore.errors import RecipeRefused
from ddcore.evaluation.kept import Kept, cache_folder
from ddcore.evaluation.problem import check_problem
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.scores import Scores, Split
from ddcore.evaluation.scores import evaluate as score
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training import Attack
from ddcore.evaluation.training_set import Preprocessed, TrainingSet
from ddcore.experiment.plan import Experiment, Settings
from ddcore.experiment.reading import distilled_at, needed_targets, papers_of, preprocess_of, preset_of
from ddcore.gate.open import Open
from ddcore.gate.source import Source
from ddcore.host import Host
from ddcore.naming import labels
from ddcore.networks.base import tried_once
from ddcore.packing import to_dict
from ddcore.preprocess import Fitted, Preprocess, Standardise
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.tensors import checksum
from ddcore.types import DataCard, Progress


@tried_once()
def evaluate(
    training: DistilledSet | Store | Source | TrainingSet,
    data: RealData,
    protocol: Protocol | None = None,
    *,
    split: Split = "test",
    preprocess: Preprocess | Fitted | None = None,
    seed: int = 0,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    attack: Attack | None = None,
    by_number: bool = False,
) -> Scores:
    """Train fresh networks on ``training`` and measure them on a split of ``data``: ``test`` or ``validation``.

    ``training``: a distilled set, which brings its preprocessing; real items (``data.train``, a subset of it) or a
    gate's source under its views, which go through ``preprocess`` (by default standardised); or anything else that
    networks can be trained on, with the ``preprocess`` that the items of ``data`` are to go through.

    ``attack`` changes each batch against the nets that are trained on it, as for :func:`ddcore.plugin.train`.
    ``by_number``: a distilled set is measured although the classes of ``data`` have other names than its own.

    Raises:
        RecipeRefused: the protocol cannot be followed on ``data``, there is no such split, or ``data`` are of another
            problem than the distilled set.
    """
    host = host or Host()
    protocol = protocol or host.kind(data.card.kind).adapted(Protocol())
    protocol.check(data, host.catalogue)
    given = {"split": split, "attack": attack}
    if isinstance(training, DistilledSet):
        check_problem(training.data, data.card, by_number)
        targets = needed_targets(training, protocol, host.catalogue, device)
        fitted = preprocess_of(training, host.catalogue)
        shown = _shown(training, host.catalogue)
        return score(shown, data, fitted, protocol, seed, device, progress, targets, distilled=training, **given)
    if protocol.temperature is not None:
        raise RecipeRefused("A protocol with a temperature wants a distilled set that teaches; take one without.")
    if isinstance(training, Store | Source):
        fitted = fitted_to(preprocess or Standardise(), training, data, torch.device(device))
        return score(Preprocessed(training, fitted), data, fitted, protocol, seed, device, progress, **given)
    if preprocess is None:
        raise RecipeRefused("Say with preprocess= what the items of the data go through, as those of the set did.")
    fitted = fitted_to(preprocess, data.train, data, torch.device(device))
    return score(training, data, fitted, protocol, seed, device, progress, **given)


def _shown(distilled: DistilledSet, catalogue: Catalogue) -> TrainingSet:
    """What networks are trained on: ``distilled`` itself, or what its carrier makes of its latent."""
    return Recipe.from_toml(distilled.recipe, catalogue).synthetic.shown(distilled) if distilled.latent else distilled


def fitted_to(preprocess: Preprocess | Fitted, items: Store | Source, data: RealData, device: torch.device) -> Fitted:
    """``preprocess`` with its numbers, from ``items`` where none are declared."""
    if isinstance(preprocess, Fitted):
        return preprocess
    rng = Streams(0)
    source = items if isinstance(items, Source) else Source(items, (), rng, device)
    return preprocess.fitted(data.card).start(data.card, Open().build(source, rng).statistics)


@tried_once()
def evaluate_saved(
    place: str | os.PathLike[str],
    settings: Settings,
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    by_number: bool = False,
) -> dict[str, Any]:
    """Evaluate a distilled set, a file or a folder's, under ``settings``; answers the metrics and writes nothing.

    Their ``told`` says where the data are not those that the set was made from. ``by_number``: the classes of the data
    may have other names than those of the set.

    Raises:
        RecipeRefused: the data of ``settings`` are of another problem than the distilled set.
    """
    host, path = host or Host(), Path(place)
    check_device(device)
    distilled = distilled_at(place)
    experiment = Experiment(Recipe.from_toml(distilled.recipe, host.catalogue), settings)
    if not path.is_dir():
        _reads_nothing(path, experiment.recipe)
    data = settings.load(experiment.recipe.seed)
    check_problem(distilled.data, data.card, by_number)
    settings.protocol.check(data, host.catalogue)
    metrics = metrics_of(experiment, experiment.recipe.fitted(data.card), distilled, data, host, device, progress)
    return {**metrics, "told": list(_told(distilled, data))}


def _reads_nothing(path: Path, recipe: Recipe) -> None:
    """Refuse a set that stands alone, and may be a stranger's, where evaluating it would read what its recipe names."""
    for part, where in ((recipe.network, "network"), (recipe.preprocess, "preprocess")):
        for field in part.files(where):
            raise RecipeRefused(
                f"The recipe of the set in {path} has a file of its choice read ({field}), which a set that stands"
                " alone may not. Evaluate the folder of its experiment instead."
            )


def _told(distilled: DistilledSet, data: RealData) -> Iterator[str]:
    """In which way ``data`` are not those that ``distilled`` was made from, in sentences."""
    made = distilled.facts.get("fingerprint")
    if made is not None and made != data.train.content:
        yield (
            f"The training items of {data.card.name} are of another content than those that the set was made from:"
            " other data, another version of them, or another share set aside for validation."
        )


def metrics_of(
    experiment: Experiment,
    recipe: Recipe,
    distilled: DistilledSet,
    data: RealData,
    host: Host,
    device: str,
    progress: Progress | None,
) -> dict[str, Any]:
    """The metrics of a distilled set beside the baselines: ``scores`` by measure and network, and how they came."""
    began = time.perf_counter()
    guarded, settings = recipe.gate.guards, experiment.settings
    protocol, baselines = settings.protocol, settings.baselines_of(recipe)
    kept = kept_for(recipe, host)
    scores, sets = evaluate_all(distilled, data, protocol, baselines, host, device, progress, kept, settings.equal)
    sizes = {name: found.nbytes for name, found in sets.items()}
    chosen = {
        name: len(found) // data.card.classes for name, found in sets.items() if name not in ("distilled", "whole")
    }
    past_the_gate = [*baselines, *(["the validation split"] if settings.validation is not None else [])]
    return {
        "method": distilled.method,
        "data": data.card.name,
        "notes": [] if guarded else list(data.notes),
        "ipc": recipe.ipc,
        "seed": recipe.seed,
        "network": str(recipe.network),
        "scores": _plain(scores.pop("distilled")),
        "baselines": {name: _plain(score) for name, score in scores.items()},
        "measures": {
            name: {"unit": measure.unit, "higher_is_better": measure.higher_is_better, "digits": measure.digits}
            for name, measure in zip(labels(protocol.measures), protocol.measures, strict=True)
        },
        "chosen_by": protocol.choosing,
        "bytes": sizes.pop("distilled"),
        "baseline_bytes": sizes,
        "baseline_ipc": chosen,
        "short": [*seen_in_part(recipe, data.card), *shown_in_part(protocol, sets)],
        "uncovered": past_the_gate if guarded else [],
        "seconds": {
            "distilling": round(distilled.facts.get("seconds", 0.0), 2),
            "evaluating": round(time.perf_counter() - began, 2),
        },
        "kept": len(kept.read),
        "peak_mib": round(peak_mib()),
        "preset": preset_of(protocol, host),
        "protocol": to_dict(protocol),
        "steps": distilled.facts.get("steps", 0),
        "versions": {**distilled.versions, "python": platform.python_version()},
        "facts": distilled.facts,
        "cites": [paper.bibtex() for paper in papers_of(recipe, host, protocol)],
    }


def kept_for(recipe: Recipe, host: Host) -> Kept:
    """Where values are kept by what they follow from; nowhere where the gate of ``recipe`` guards T."""
    folder = None if recipe.gate.guards or host.code is None else cache_folder()
    return Kept(folder, {"code": host.code, "torch": torch.__version__})


def with_preprocess(kept: Kept, distilled: DistilledSet) -> Kept:
    """``kept`` for items that go through what ``distilled`` says they go through."""
    state = {name: checksum(name, value) for name, value in distilled.preprocess_state.items()}
    return kept.also(preprocess=[distilled.preprocess, state])


def baseline(name: str, recipe: Recipe, data: RealData, host: Host, nbytes: int | None = None) -> Recipe:
    """The method ``name`` in the place of that of ``recipe``, on the same network, preprocessing and seed.

    Its items per class are those of ``recipe``, or as many as ``nbytes`` hold, one at least.
    """
    ipc = recipe.ipc if nbytes is None else items_that_fit(data.card, nbytes)
    found = host.recipe(name, kind=data.card.kind, ipc=ipc)
    return replace(found, network=recipe.network, preprocess=recipe.preprocess, seed=recipe.seed)


def shown_in_part(protocol: Protocol, sets: Mapping[str, TrainingSet]) -> Iterator[str]:
    """Which of ``sets`` networks see less than once under ``protocol``, in sentences."""
    for name, training in sets.items():
        seen = protocol.length(len(training)) * protocol.batch
        if seen < len(training) and not (protocol.replay and training.order is not None):
            yield (
                f"Networks see {seen} of the {len(training)} items of the set {name}, less than all of them once: its"
                " score says little. Raise protocol.steps, or give protocol.epochs."
            )


def seen_in_part(recipe: Recipe, card: DataCard) -> Iterator[str]:
    """That the steps of ``recipe`` draw fewer items of T than there are, where its objective says how many a step."""
    each = getattr(recipe.objective, "real", None)
    drawn = (each or 0) * card.classes * recipe.iterations
    if 0 < drawn < sum(card.counts):
        yield (
            f"{recipe.iterations} iterations of {each} items per class draw {drawn} items of {card.name}, which has"
            f" {sum(card.counts)}: most were never seen. Raise iterations or objective.real."
        )


def items_that_fit(card: DataCard, nbytes: int) -> int:
    """How many real items per class ``nbytes`` hold with their classes, no more than each class has; one at least."""
    label = 4 * card.values if card.values is not None else 1 if card.classes <= 256 else 2
    item = math.prod(card.shape) * (1 if card.unit_range else 4) + label
    return max(1, min(nbytes // (card.classes * item), *card.counts))


def check_baselines(settings: Settings, recipe: Recipe, data: RealData, host: Host) -> None:
    """Raises RecipeRefused where a baseline of ``recipe`` cannot be made of ``data``."""
    for name in settings.baselines_of(recipe):
        if name != "whole":
            try:
                baseline(name, recipe, data, host).fitted(data.card).check(data.card, host.catalogue)
            except RecipeRefused as error:
                raise RecipeRefused(
                    f"The baseline {name} cannot be made: {error} Or leave it out (--baselines whole, or none)."
                ) from error


def evaluate_all(
    distilled: DistilledSet,
    data: RealData,
    protocol: Protocol,
    baselines: Sequence[str],
    host: Host,
    device: str,
    progress: Progress | None,
    kept: Kept = Kept(None),
    equal: Literal["ipc", "bytes"] = "ipc",
) -> tuple[dict[str, Scores], dict[str, TrainingSet]]:
    """Scores of the distilled set (``distilled``) and of each baseline, and the sets; one protocol, one seed."""
    preprocess = preprocess_of(distilled, host.catalogue)
    recipe = Recipe.from_toml(distilled.recipe, host.catalogue)
    known = with_preprocess(kept, distilled)

    def scored(name: str, training: TrainingSet, content: str, targets: TeacherTargets | None = None) -> Scores:
        given = (data, preprocess, protocol, recipe.seed, device, told_of(name, progress), targets)
        return score(training, *given, distilled=distilled, kept=known.also(set=content))

    targets = needed_targets(distilled, protocol, host.catalogue, device)
    scores = {"distilled": scored("distilled", _shown(distilled, host.catalogue), distilled.content, targets)}
    sets: dict[str, TrainingSet] = {"distilled": distilled}
    for name in baselines:
        if name == "whole":
            stands = Preprocessed(data.train, preprocess)
        else:
            room = distilled.nbytes if equal == "bytes" else None
            stands = host.distill(baseline(name, recipe, data, host, room), data, device=device)
        scores[name], sets[name] = scored(name, stands, stands.content), stands
    return scores, sets


def told_of(name: str, progress: Progress | None) -> Progress | None:
    """``progress`` of one set, whose name it says first."""
    return progress and partial(_said, progress, name)


def _said(progress: Progress, name: str, what: str, done: int, of: int) -> None:
    progress(f"{name}: {what}", done, of)


def _plain(scores: Scores) -> dict[str, dict[str, Any]]:
    return {
        measure: {network: score.plain() for network, score in by_network.items()}
        for measure, by_network in scores.items()
    }
