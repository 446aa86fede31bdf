"""What a study is: cases, what is done with one, and what is made of all."""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ddcore.host import Host
from ddcore.packing import dotted, packed
from ddcore.parts import Part
from ddcore.study.finding import Finding
from ddcore.types import Progress

ALL = "all"
"""The table of overrides that is of every method."""
LABEL = 60
"""Characters of a case's label that the name of its folder begins with at most."""


@dataclass(frozen=True)
class Case:
    """One cell of a study. Cases that differ in nothing but their seed are repetitions of each other."""

    label: str
    """Its name in tables and plots."""
    seed: int | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    """What it is about, besides the study's settings: parts and plain values, by name."""

    def __str__(self) -> str:
        return self.label if self.seed is None else f"{self.label}, seed {self.seed}"

    def table(self) -> dict[str, Any]:
        """What ``case.toml`` says."""
        seed = {} if self.seed is None else {"seed": self.seed}
        return {"label": self.label, **seed, "description": packed(self.description)}

    @property
    def content(self) -> str:
        """Eight hexadecimal digits that are the same for cases that differ in nothing but their seed."""
        said = json.dumps({**self.table(), "seed": None}, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    @property
    def folder(self) -> str:
        """The name of its folder, which no other case has."""
        words = re.sub(r"[^\w.+-]+", "_", self.label.replace(", ", "-"))[:LABEL]
        return "-".join([words, *([] if self.seed is None else [str(self.seed)]), self.content])


@dataclass(frozen=True)
class Found:
    """What came out of one case."""

    case: Case
    folder: Path
    """What the case left besides its numbers."""
    numbers: dict[str, Any]


class Study(Part, kind="study"):
    """An experiment with a protocol of its own; its fields are its settings.

    It says which cases there are, runs one, and sums up. What all studies share is done by
    :func:`~ddcore.study.running.run_study`: the folders, going on after a stop, progress, processes side by side, the
    files.
    """

    chooses: ClassVar[frozenset[str]] = frozenset()
    """The fields that say only which cases there are, such as ``seeds``: a folder goes on with other values of them,
    and what it has of the cases is used again."""
    several: ClassVar[tuple[str, ...]] = ()
    """The fields that name what is compared: none may be empty."""

    in_part: ClassVar[bool] = False
    """Whether :meth:`summarise` can do with some of the cases, at least one."""

    def faults(self) -> Iterator[str]:
        return (f"{name} is empty: the study needs at least one" for name in self.several if not getattr(self, name))

    @abstractmethod
    def cases(self, host: Host) -> Sequence[Case]:
        """All cases, the first to run first. Refuses what could not run, before anything does."""

    @abstractmethod
    def run(self, case: Case, folder: Path, host: Host, device: str, progress: Progress | None) -> dict[str, Any]:
        """The numbers of one case, as JSON can hold them.

        ``folder`` is the case's own. Where the case was stopped, what it left there is found again.
        """

    @abstractmethod
    def summarise(self, found: Sequence[Found]) -> Finding:
        """What the cases say together; ``found`` is in the order of :meth:`cases`, all of them unless ``in_part``."""


def over_seeds(found: Iterable[Found]) -> list[list[Found]]:
    """``found`` by cases that differ in nothing but their seed, in the order of their first."""
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(one.case.content, []).append(one)
    return list(groups.values())


def overrides_of(method: str, overrides: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """The fields by dotted path that ``overrides`` change in the recipe of ``method``.

    ``overrides`` hold a table for each method, and one named ``all`` for every method, which its own table may change.

    Raises:
        UnknownName: a table is of a method that does not exist, whether or not it is ``method``.
    """
    for name in overrides.keys() - {ALL}:
        host.catalogue.find("method", name)
    return {**dotted(overrides.get(ALL, {})), **dotted(overrides.get(method, {}))}
