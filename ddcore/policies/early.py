"""Networks of an early stage of training on T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.policies.base import Policy
from ddcore.policies.training import trained_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Early(Policy):
    """A pool of ``networks`` networks, each trained on T for a little as ``fit`` says; each step has one of them.

    They are drawn uniformly, and a network is trained when it is first drawn; the run may be left in between.
    Reference: Zhang et al., CVPR 2023, early-stage models.

    Differs: a network that was drawn is not trained further, and another may be drawn at the next step.
    """

    networks: int = 5
    fit: Fit = Fit(steps=None, epochs=2)

    def faults(self) -> Iterator[str]:
        if self.networks < 1:
            yield (f"policy.networks = {self.networks}: a pool holds at least one network.")

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"teacher", "trained_network"})

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        pool = state.setdefault("pool", [])
        if "place" not in state:
            state["place"] = int(torch.randint(self.networks, (), generator=ctx.rng["policy"]))
        if state["place"] >= len(pool):
            (*_, params), buffers = trained_on(state, self.fit, "training an early network", ctx)
            pool.append({"params": params, "buffers": buffers})
        network = pool[min(state.pop("place"), len(pool) - 1)]
        return Draw(ctx.network, **network, age=self.fit.length(sum(ctx.card.counts)))
