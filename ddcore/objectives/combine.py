"""Objectives together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ddcore.context import Context
from ddcore.objectives.base import Objective
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Sum(Objective):
    """The sum of ``terms``: the first steps of all are one step, then the second ones, until the longest has ended."""

    terms: tuple[Objective, ...]
    """The objectives that are added, at least one."""

    def faults(self) -> Iterator[str]:
        if not self.terms:
            yield "terms is empty: a sum needs at least one term"

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        steps = [term.accumulate(draw, synthetic, ctx) for term in self.terms]
        return (sum(losses) for losses in zip_longest(*steps, fillvalue=0.0))
