"""Networks between a start and what it is trained to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from ddcore.bounds import Share
from ddcore.context import Context
from ddcore.policies.base import Policy
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


@dataclass(frozen=True)
class Between(Policy):
    """The network of ``policy`` at theta + r (target - theta), with r drawn anew at each step; its target stays.

    So S meets networks of every stage of a training of which only the ends are kept.

    **Reference**: Zhang et al., DANCE, IJCAI 2024, the middle encoders.
    """

    policy: Policy
    """The policy whose networks are moved; it must give a target."""
    low: Share = 0.0
    """Smallest share r of the way."""
    high: Share = 1.0
    """Largest share r of the way; r is uniform between the two."""

    def faults(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low = {self.low}: it must be at most high = {self.high}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"target"})

    @property
    def fits(self) -> int:
        return self.policy.fits

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        self.policy.check_state(state, network)

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        draw = self.policy.draw(state, synthetic, ctx)
        assert draw.target is not None
        share = self.low + (self.high - self.low) * float(torch.rand((), generator=ctx.rng["between"]))
        params = {name: value.lerp(draw.target[name], share) for name, value in draw.params.items()}
        return replace(draw, params=params)
