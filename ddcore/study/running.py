"""Running a study in one folder that can be resumed."""

from __future__ import annotations

import csv
import io
import json
import os
import tomllib
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from ddcore.datasets.base import DataSet, Readings, loaded, reading, written
from ddcore.device import check_device
from ddcore.errors import CasesFailed, DdcoreError, RecipeRefused
from ddcore.files import LOCK, held, write_whole
from ddcore.host import Host
from ddcore.packing import dotted, to_dict
from ddcore.parts import Part
from ddcore.report.tables import latex_table, markdown_table
from ddcore.study.base import Case, Found, Study
from ddcore.study.engine import Engine, Failure, Local
from ddcore.study.finding import Finding
from ddcore.study.post import Post
from ddcore.types import Progress

TOLD = 3
"""Failed cases whose reason is said in full."""


@dataclass(frozen=True)
class Place:
    """The folder of a study and its files."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "study.toml"

    def of(self, case: Case) -> Path:
        return self.path / "cases" / case.folder

    def failed(self, case: Case) -> Path:
        return self.of(case) / "failed.txt"

    def found(self, case: Case) -> Found | None:
        """What came out of ``case``, None where it has not ended.

        Raises:
            DdcoreError: its file is damaged.
        """
        path = self.of(case) / "case.json"
        if not path.exists():
            return None
        try:
            return Found(case, path.parent, json.loads(path.read_text()))
        except ValueError as error:
            raise DdcoreError(f"{path} is damaged ({error}). Delete it: the case then runs again.") from error

    def ended(self, cases: Sequence[Case]) -> list[Found]:
        """What came out of those of ``cases`` that have ended. Raises as :meth:`found` does."""
        return [found for case in cases if (found := self.found(case))]


def run_study(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Finding:
    """Run the cases of ``study`` in ``folder``, but for those that have ended there, and sum up.

    Leaves ``study.toml`` (the settings), ``cases/`` (a folder for each case, with ``case.toml``, and ``case.json`` once
    it has ended), ``finding.json``, ``finding.csv`` (a row per case), ``finding.tex``, ``report.md`` and the plots. A
    case that fails does not keep the others from running. What comes out does not depend on the engine, where as many
    threads compute.

    Raises:
        RecipeRefused: there is no such ``device``, the ``engine`` is not installed or has no workers to use, there are
            no cases or two that are the same, or the folder holds an experiment, another study, or what the same one
            has done with other settings.
        BadData: a data set that the study, or a case that has not ended, names cannot be loaded; no case has begun.
        FolderHeld: another process is at work in the folder.
        CasesFailed: some cases did not come to their end; the others are kept.
    """
    check_device(device)
    engine = engine or Local()
    engine.ready()
    place, host = Place(Path(folder)), host or Host()
    settings = {"name": type(study).part_name(), **to_dict(study)}
    _refuse_another(place, study, settings)
    with held(place.path), reading(Readings()) as readings:
        cases = _cases(study, host)
        _load_data(study, [case for case in cases if place.found(case) is None])
        write_whole(place.settings, tomli_w.dumps(settings).encode())
        try:
            _run_cases(study, cases, place, host, device, progress, engine, readings)
        except KeyboardInterrupt as error:
            error.__notes__ = ["The same command goes on."]
            raise
        found = place.ended(cases)
        finding = study.summarise(found)
        _write(finding, found, settings, place)
    return finding


def so_far(study: Study, folder: str | os.PathLike[str], *, host: Host | None = None) -> Finding:
    """Sum up the cases of ``study`` that have ended in ``folder``, and run none; it may be at work there meanwhile.

    Leaves the files of :func:`run_study` that sum up.

    Raises:
        RecipeRefused: no case has ended, ``study`` says something of all of its cases alone, or the folder holds an
            experiment, another study, or what the same one has done with other settings.
        BadData: a data set that the study names cannot be loaded.
    """
    place, host = Place(Path(folder)), host or Host()
    settings = {"name": type(study).part_name(), **to_dict(study)}
    if not study.in_part:
        raise RecipeRefused(
            f"The study {settings['name']} sums up nothing before all of its cases have ended: run it without --so-far."
        )
    _refuse_another(place, study, settings)
    with reading(Readings()):
        cases = _cases(study, host)
        found = place.ended(cases)
        if not found:
            raise RecipeRefused(f"None of the {len(cases)} cases has ended in {place.path}: run the study first.")
        finding = study.summarise(found)
    finding = replace(finding, says=f"{len(found)} of {len(cases)} cases have ended. {finding.says}")
    _write(finding, found, settings, place)
    return finding


def _cases(study: Study, host: Host) -> Sequence[Case]:
    cases = study.cases(host)
    if not cases:
        raise RecipeRefused(f"The study {study.part_name()} has no case to run: what its fields name leaves none.")
    folders = [case.folder for case in cases]
    if twice := [case for i, case in enumerate(cases) if folders.index(folders[i]) < i]:
        raise RecipeRefused(f"Two cases are the same: {twice[0]}. Name each once.")
    return cases


def _refuse_another(place: Place, study: Study, settings: dict[str, Any]) -> None:
    if not place.settings.exists():
        if (place.path / "recipe.toml").exists():
            raise RecipeRefused(f"{place.path} holds an experiment. Name another folder with --out.")
        return
    if {other.name for other in place.path.iterdir()} <= {place.settings.name, LOCK}:
        return
    try:
        held = tomllib.loads(place.settings.read_text())
    except ValueError as error:
        raise RecipeRefused(f"{place.settings} is damaged ({error}). Name another folder with --out.") from error
    mine, its = ({k: v for k, v in said.items() if k not in study.chooses} for said in (settings, held))
    if mine != its:
        differing = [name for name in {**mine, **its} if mine.get(name) != its.get(name)]
        raise RecipeRefused(
            f"{place.path} holds a study with other settings ({', '.join(differing)}; {place.settings}). Name another"
            " folder with --out."
        )


def _load_data(study: Study, todo: Sequence[Case]) -> None:
    """Load each data set that ``study`` and its cases ``todo`` name; one that cannot be fails here, before all work."""
    named = [value for case in todo for value in (study, *case.description.values()) if isinstance(value, Part)]
    found = [part for value in named for _, part in value.within() if isinstance(part, DataSet)]
    each = {written(data): data for data in found}
    for data in reversed(each.values()):  # the first case finds its own read last
        loaded(data)


def _run_cases(
    study: Study,
    cases: Sequence[Case],
    place: Place,
    host: Host,
    device: str,
    progress: Progress | None,
    engine: Engine,
    readings: Readings,
) -> None:
    names = {case.folder: f"case {i} of {len(cases)}: {case}" for i, case in enumerate(cases, 1)}
    todo = [case for case in cases if place.found(case) is None]
    ended, failures = len(cases) - len(todo), {}
    say, last = progress or (lambda what, done, of: None), {}

    def told(case: Case) -> Progress:
        return lambda what, done, of: say(f"{names[case.folder]}: {what}", done, of)

    def heard(case: Case) -> None:
        posted = Post(place.of(case)).read()
        if posted and posted != last.get(case.folder):
            last[case.folder] = posted
            told(case)(*posted)

    if ended:
        say(f"{ended} of {len(cases)} cases found", ended, len(cases))
    say("cases", ended, len(cases))
    there = Place(place.path.absolute())
    work = partial(_run_case, study=study, place=there, host=host, device=device, readings=readings)
    waiting = [case.folder for case in todo]
    with closing(engine.each(work, todo, told, heard)) as outcomes:
        while waiting:
            try:
                case, failure = next(outcomes)
            except RecipeRefused:
                raise
            except Exception as error:  # the engine's: a case that cannot be sent to a process
                reason = f"not run to its end, {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                raise _failed(failures | {names[c]: reason for c in waiting}, len(cases), place) from error
            waiting.remove(case.folder)
            ended += 1
            if failure is not None:
                failures[names[case.folder]] = failure.reason
                write_whole(place.failed(case), (failure.trace or f"{failure.reason}.\n").encode())
            say(f"{names[case.folder]}{'' if failure is None else ' FAILED'}", ended, len(cases))
            say("cases", ended, len(cases))
    if failures:
        raise _failed(failures, len(cases), place)


def _run_case(
    case: Case,
    progress: Progress | None,
    *,
    study: Study,
    place: Place,
    host: Host,
    device: str,
    readings: Readings,
) -> Failure | None:
    """Run ``case`` and write what came out; answers why it failed, None where it did not."""
    if place.found(case):  # by a worker that died before it could say so
        return None
    folder = place.of(case)
    write_whole(folder / "case.toml", tomli_w.dumps(case.table()).encode())
    post = Post(folder)
    try:
        with reading(readings):
            numbers = study.run(case, folder, host, device, progress or post)
        text = json.dumps(numbers, indent=1)
    except Exception as error:  # the study's own code: anything may come out of it
        reason = str(error) if isinstance(error, DdcoreError) else f"{type(error).__name__}: {error}"
        return Failure(reason, traceback.format_exc())
    finally:
        post.path.unlink(missing_ok=True)
    write_whole(folder / "case.json", f"{text}\n".encode())
    place.failed(case).unlink(missing_ok=True)
    return None


def _failed(failures: dict[str, str], cases: int, place: Place) -> CasesFailed:
    said = [f"{name}: {reason.rstrip('.')}." for name, reason in list(failures.items())[:TOLD]]
    if len(failures) > TOLD:
        said.append(f"And {len(failures) - TOLD} more.")
    return CasesFailed(
        f"{len(failures)} of {cases} cases failed. {' '.join(said)} The other {cases - len(failures)} are kept in"
        f" {place.path}, and what a failed case raised stands in its failed.txt: the same command goes on with those"
        " that are missing."
    )


def _write(finding: Finding, found: Sequence[Found], settings: dict[str, Any], place: Place) -> None:
    name = settings["name"]
    numbers = {"study": name, **finding.numbers}
    write_whole(place.path / "finding.json", (json.dumps(numbers, indent=2) + "\n").encode())
    write_whole(place.path / "finding.csv", _csv(found).encode())
    write_whole(place.path / "finding.tex", latex_table(finding.head, finding.rows).encode())
    for plot in finding.plots:
        plot.save(place.path / f"{plot.name}.png")
    pictures = "".join(f"![{plot.name}]({plot.name}.png)\n\n" for plot in finding.plots)
    report = f"# Study: {name}\n\n{markdown_table(finding.head, finding.rows)}\n{finding.says}\n\n{pictures}"
    write_whole(place.path / "report.md", f"{report}## Settings\n\n```toml\n{tomli_w.dumps(settings)}```\n".encode())


def _csv(found: Sequence[Found]) -> str:
    """One row per case: its label, its seed, and each single value of its numbers, by dotted path."""
    plain = [
        {k: v for k, v in dotted(one.numbers).items() if isinstance(v, int | float | str)} | {"case": one.case.label}
        for one in found
    ]
    columns = dict.fromkeys(["case", "seed", *(name for row in plain for name in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({**row, "seed": one.case.seed} for row, one in zip(plain, found, strict=True))
    return text.getvalue()
