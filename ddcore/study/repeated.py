"""Numbers that are measured with each of several seeds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddcore.data import RealData
from ddcore.errors import DdcoreError, RecipeRefused
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.evaluating import evaluate
from ddcore.files import held, json_bytes, write_whole
from ddcore.report.tables import plus_minus
from ddcore.study.finding import Finding, spread


def repeated(
    measure: Callable[[int], Mapping[str, float]],
    seeds: Sequence[int],
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    *,
    digits: int = 1,
) -> Finding:
    """What ``measure`` answers with each of the ``seeds``, by name, as mean ± std; for less than a study of its own.

    The numbers of a seed lie in ``folder`` once they are known, so the same call goes on where it was stopped.
    ``settings`` is all else that they depend on, as JSON can hold it. ``finding.json`` holds the numbers of all seeds.

    Raises:
        RecipeRefused: there are no seeds, or the folder holds numbers of other settings.
        FolderHeld: another process is at work in the folder.
    """
    place, own = Path(folder), json.loads(json_bytes(dict(settings)))
    if not seeds:
        raise RecipeRefused("There are no seeds: give at least one.")
    paths = {seed: place / f"seed-{seed}.json" for seed in seeds}
    for path in paths.values():
        _numbers(path, own)
    with held(place):
        for seed, path in paths.items():
            if not path.exists():
                write_whole(path, json_bytes({"settings": own, "numbers": dict(measure(seed))}))
        each = [_numbers(path, own) for path in paths.values()]
        names = dict.fromkeys(name for numbers in each for name in numbers)
        found = {name: [numbers.get(name) for numbers in each] for name in names}
        rows = [[name, _cell([v for v in values if v is not None], digits)] for name, values in found.items()]
        finding = Finding(["what", "mean ± std"], rows, found, f"Over the seeds {', '.join(map(str, seeds))}.")
        write_whole(place / "finding.json", json_bytes(finding.numbers))
    return finding


def scored(sets: Mapping[str, Any], data: RealData, protocol: Protocol, **given: Any) -> dict[str, float]:
    """Each measure by each learner on each of ``sets``, the mean over nets, as "set | learner | measure".

    The sets, the protocol and what is ``given`` are those of :func:`ddcore.evaluate`.
    """
    return {
        f"{label} | {learner} | {measure}": score.mean
        for label, training in sets.items()
        for measure, each in evaluate(training, data, protocol, **given).items()
        for learner, score in each.items()
    }


def _cell(values: Sequence[float], digits: int) -> str:
    return plus_minus(**spread(values), digits=digits) if values else "diverged"


def _numbers(path: Path, settings: dict[str, Any]) -> dict[str, float | None]:
    """What is known of a seed, nothing where it has not been measured."""
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())
        numbers, its = known["numbers"], known["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise DdcoreError(f"{path} is damaged ({error}). Delete it: the seed is then measured again.") from error
    if its != settings:
        differing = sorted(name for name in {**its, **settings} if its.get(name) != settings.get(name))
        raise RecipeRefused(f"{path} holds numbers of other settings ({', '.join(differing)}). Name another folder.")
    return numbers
