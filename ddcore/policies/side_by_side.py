"""Several newly initialised networks at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddcore.context import Context
from ddcore.networks.probe import joined
from ddcore.policies.base import Policy
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class SideBySide(Policy):
    """``networks`` newly initialised networks at every step as one, whose features are theirs over sqrt(``networks``).

    Reference: Loo et al., RFAD, NeurIPS 2022, Section 3.1.
    """

    networks: int = 8

    def faults(self) -> Iterator[str]:
        if self.networks < 1:
            yield (f"policy.networks = {self.networks}: at least one network is needed.")

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        return joined([ctx.fresh() for _ in range(self.networks)])
