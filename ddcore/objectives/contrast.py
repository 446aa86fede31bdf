"""Unlikeness of what was made from one base."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ddcore.bounds import NotNegative
from ddcore.context import Context
from ddcore.distance import likeness
from ddcore.objectives.base import LossObjective
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Contrast(LossObjective):
    """L = ``weight`` times the mean cosine, in the rival's features, of items that come from one base.

    **Reference**: Liu et al., HaBa, NeurIPS 2022, Section 3.3.
    """

    weight: NotNegative = 0.1
    """Weight of the cosine. Published: 0.1."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "rival", "features"})

    def loss(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Tensor:
        assert draw.rival is not None
        inputs, _ = synthetic.everything()
        return self.weight * likeness(draw(inputs, draw.rival, features=True), synthetic.carrier.origin)
