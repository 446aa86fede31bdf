"""Several newly initialised networks at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ddcore.bounds import Count
from ddcore.context import Context
from ddcore.networks.probe import joined
from ddcore.policies.base import Policy
from ddcore.policies.memory import Nothing
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class SideBySide(Policy):
    """Several newly initialised networks at every step as one, whose features are theirs over sqrt(``networks``).

    **Reference**: Loo et al., RFAD, NeurIPS 2022, Section 3.1.
    """

    memory: ClassVar[Any] = Nothing

    networks: Count = 8
    """Networks per step. Published: 8."""

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        return joined([ctx.fresh() for _ in range(self.networks)])
