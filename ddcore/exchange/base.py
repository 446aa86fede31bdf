"""What every format of a set for or from others is."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.errors import BadArtefact
from ddcore.parts import Part
from ddcore.types import DataCard


@dataclass(frozen=True)
class Released:
    """What the files of a set hold, as they hold it."""

    inputs: Tensor
    """(n, ...); uint8 are pixels of pictures, of which 255 is white."""
    labels: Tensor
    """Class numbers (n,) or (n, 1), or one row of scores per item (n, k)."""
    taken_for: str
    """What the files were taken for, as a sentence ends: ``the layout of DC, experiment 0 of 5``."""
    step_sizes: Tensor | None = None
    raw: bool | None = None
    """The inputs have been through no preprocessing; None where the files do not show."""


class Format(Part, kind="format"):
    """How a set lies in files that others write and read."""

    @abstractmethod
    def write(self, distilled: DistilledSet, out: Path) -> list[str]:
        """Write ``distilled`` at ``out``, where nothing is; answers what its users must know, in sentences.

        Raises:
            BadArtefact: there is no way to write such items so; said before anything is written.
        """

    @abstractmethod
    def read(self, path: Path, card: DataCard) -> Released:
        """What lies at ``path``, which is to be of the data of ``card``. Runs no code of the files'.

        Raises:
            BadArtefact, BadData: it is not of this format, or damaged.
        """

    @abstractmethod
    def takes(self, path: Path) -> bool:
        """What lies at ``path`` looks like this format."""

    @property
    def holds(self) -> frozenset[str]:
        """What it keeps besides inputs and targets: ``step_sizes``, or nothing."""
        return frozenset()


def numbered(names: Sequence[str], card: DataCard) -> tuple[list[int], str]:
    """The class of ``card`` that each of ``names`` means, and by what it is known.

    By the data's own names; else by the number at the end, as in ``new007``, where what comes before is the same in
    all; else by their order, where there are as many as classes.

    Raises:
        BadArtefact: by none of these.
    """
    known = {card.called(c): c for c in range(card.classes)}
    if {*names} <= known.keys():
        return [known[name] for name in names], "the names of their classes"
    parts = [re.fullmatch(r"(.*?)0*(\d{1,9})", name, re.ASCII) for name in names]
    found = [(match[1], int(match[2])) for match in parts if match]
    numbers = [number for _, number in found]
    alike = len(found) == len(names) == len({*numbers}) and len({begin for begin, _ in found}) == 1
    if alike and max(numbers) < card.classes:
        return numbers, "the numbers of their classes"
    if len(names) == card.classes:
        return list(range(len(names))), "the order of their classes"
    raise BadArtefact(
        f"The {len(names)} classes {', '.join(names[:3])} ... are none of the {card.classes} of {card.name}"
        f" ({', '.join(list(known)[:3])} ...). Name them so, or by number, or name other data (--data)."
    )


def shares(scores: Tensor) -> bool:
    """Each row of ``scores`` (n, k) is made of shares of a whole."""
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-3).all())
