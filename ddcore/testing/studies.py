"""What a study is held to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from ddcore.host import Host
from ddcore.study.base import Study
from ddcore.study.finding import Finding
from ddcore.study.running import Place, run_study
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part


@Check
def check_study(part: Study, *, host: Host | None = None) -> Iterator[str]:
    """It keeps the contract of parts; its cases are told apart, run, and are found again by the same command; what it
    finds is a table, and numbers that JSON can hold; where it is ``in_part``, of each case alone too.

    All cases run: give it small settings.
    """
    name, host = part.part_name(), host or Host()
    yield from check_part.faults(part, host.catalogue)
    own = {f.name for f in fields(part)}
    if unknown := sorted((part.chooses | {*part.several}) - own):
        yield f"{name} names {unknown[0]} in chooses or several, which is no field of it."
    cases = part.cases(host)
    if not cases:
        yield f"{name} has no cases: let cases(host) answer at least one."
        return
    with TemporaryDirectory() as folder:
        finding = run_study(part, folder, host=host)
        first = _ended(folder)
        run_study(part, folder, host=host)
        if len(first) != len(cases) or _ended(folder) != first:
            yield f"{name}: its cases are others the second time: let cases(host) follow from its fields alone."
        for one in Place(Path(folder)).ended(cases) if part.in_part else ():
            yield from _finding_faults(part.summarise([one]), f"{name}, asked of one case, ")
    yield from _finding_faults(finding, name)


def _ended(folder: str) -> dict[Path, int]:
    """The cases that have ended in ``folder``, and when."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("case.json")}


def _finding_faults(finding: Finding, name: str) -> Iterator[str]:
    if not finding.rows or any(len(row) != len(finding.head) for row in finding.rows):
        yield f"{name} finds no table, or one whose rows are not as long as its head: see dd.Finding."
    try:
        json.dumps(finding.numbers)
    except (TypeError, ValueError) as error:
        yield f"{name} finds numbers that JSON cannot hold: {error}."
