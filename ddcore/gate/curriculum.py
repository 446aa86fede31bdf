"""Which items of T a fit sees when, by how hard they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ddcore.bounds import Count, Decay, OpenShare, PositiveShare
from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.types import DataCard, Network


@dataclass(frozen=True)
class Curriculum(Part, kind="curriculum"):
    """Which items of T a fit draws from: easy ones first, hard ones as well later on, and easy ones no longer at last.

    Items of a class are ordered by the score || softmax( f(x) ) - onehot(y) ||, with f the network after a short
    training of its own, from the same start on all of T.

    **References**: Li et al., PAD, 2024, and the shares from the authors' README; the score, Paul et al., NeurIPS 2021,
    Section 2 (EL2N).

    **Differs**: PAD scores items once for all experts, ours once per network; it leaves easy items out in two steps,
    10 % at 0.4 of the training and 20 % at 0.6, ours in one.
    """

    classes_only = True

    easy: PositiveShare = 0.75
    """Share of each class, the easiest, that the fit begins with. Published: 0.75."""
    added: OpenShare = 0.2
    """Share of the steps after which all items have come in, evenly. Published: 0.2."""
    removed: Decay = 0.2
    """Share of each class, the easiest, that is left out in the end. Published: 0.2."""
    kept: OpenShare = 0.6
    """Share of the steps after which they are left out. Published: 0.6."""
    scored: Count = 50
    """Steps of the training whose network gives the scores."""

    def faults(self) -> Iterator[str]:
        if self.kept < self.added:
            yield f"kept = {self.kept}: easy items can be left out once all have come in, at added = {self.added}"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"})

    @property
    def itemwise(self) -> bool:
        return False

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        least = min(filter(None, card.counts))
        if (least - 1) / least < self.removed:
            raise RecipeRefused(
                f"curriculum.removed = {self.removed} leaves nothing of a class of {least}: lower it, or take another"
                " data set."
            )

    def admitted(self, easier: Tensor, share: float) -> Tensor:
        """Which items are drawn from after a ``share`` of the steps, by what share of their class is easier (n,)."""
        first = self.easy + (1 - self.easy) * min(1.0, share / self.added)
        return (easier < first) & (easier >= (self.removed if share >= self.kept else 0.0))
