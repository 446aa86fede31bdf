"""Measures: numbers about trained networks."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.evaluation.training_set import Preprocessed
from ddcore.parts import Part
from ddcore.types import Draw


class Measure(Part, kind="measure"):
    """A number about trained networks."""

    unit: ClassVar[str] = ""
    """Its unit, such as ``%``."""
    higher_is_better: ClassVar[bool] = True
    digits: ClassVar[int] = 1
    """Decimal places with which it is written."""

    @abstractmethod
    def __call__(self, draw: Draw, data: Preprocessed, chunk: int) -> Tensor:
        """One number per net (e,) of the ensemble ``draw``, which takes ``data`` preprocessed.

        ``chunk`` items of each net fit in memory at once.
        """

    def of(self, distilled: DistilledSet) -> Measure:
        """This measure for the set under evaluation; one that looks for its trigger returns a copy that has it."""
        return self
