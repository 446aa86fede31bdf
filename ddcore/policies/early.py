"""Networks of an early stage of training on T."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ddcore.bounds import Count
from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Number, State, TrainingState, check_training
from ddcore.policies.training import trained_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class EarlyState(State):
    """Where the networks stand."""

    pool: list[NetState]
    place: Number = 0
    training: TrainingState | Nothing = Nothing()


@dataclass(frozen=True)
class Early(Policy):
    """A pool of networks, each trained on T for a little; each step has one of them, drawn uniformly.

    A network is trained when it is first drawn; the run may be interrupted in between.

    **Reference**: Zhang et al., CVPR 2023, early-stage models.

    **Differs**: a network that was drawn is not trained further, and another may be drawn at the next step.
    """

    memory: ClassVar[Any] = EarlyState | Nothing

    networks: Count = 5
    """Networks in the pool. Published: 5."""
    fit: Fit = Fit(steps=None, epochs=2)
    """How each is trained on T. Published: 2 epochs."""

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        super().check_state(state, network)
        check_training(state, self.fit)
        if state.get("place", 0) >= self.networks or len(state.get("pool", ())) > self.networks:
            raise ValueError(f"its pool is of more than {self.networks} networks")

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
