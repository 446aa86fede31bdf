"""The networks of another policy, each moved a little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ddcore.bounds import NotNegative
from ddcore.context import Context
from ddcore.policies.base import Policy
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


@dataclass(frozen=True)
class Perturbed(Policy):
    """The network of ``policy`` at theta + m d, with d and m drawn anew at each step.

    d is standard normal, scaled filter by filter to || d_f || = || theta_f ||; a filter is a row of a tensor flattened
    to (out, rest). Tensors of one dimension (biases and the parameters of norms) stay where they are. What ``policy``
    remembers is not moved.

    **Reference**: Zhang et al., CVPR 2023, parameter perturbation, with the filter norms of Li et al., NeurIPS 2018;
    the range from the authors' code.
    """

    policy: Policy
    """The policy whose networks are moved."""
    low: NotNegative = 0.01
    """Smallest magnitude m. Published: 0.01."""
    high: NotNegative = 0.09
    """Largest magnitude m; m is uniform between the two. Published: 0.09."""

    def faults(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low = {self.low}: it must be at most high = {self.high}"

    @property
    def fits(self) -> int:
        return self.policy.fits

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        self.policy.check_state(state, network)

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        draw, rng = self.policy.draw(state, synthetic, ctx), ctx.rng["perturb"]
        magnitude = self.low + (self.high - self.low) * float(torch.rand((), generator=rng))
        params = {
            name: value + magnitude * _filterwise(torch.randn(value.shape, generator=rng).to(value), value)
            if value.ndim >= 2
            else value
            for name, value in draw.params.items()
        }
        return replace(draw, params=params)


def _filterwise(direction: Tensor, like: Tensor) -> Tensor:
    """``direction`` with each filter as long as that of ``like``; both (out, ...)."""
    lengths = [x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1)) for x in (like, direction)]
    return direction * (lengths[0] / lengths[1])
