"""A pool of networks that are trained on S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator

from ddcore.bounds import Count, Positive
from ddcore.checkpoint import OptimiserState
from ddcore.context import Context
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Number, State
from ddcore.policies.training import step_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class MemberState(NetState):
    """A network of the pool."""

    adam: OptimiserState | None
    age: Number


class PoolState(State):
    """The networks, and which of them was used last."""

    pool: list[MemberState]
    used: Number

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.used >= len(self.pool):
            raise ValueError(f"there is no network {self.used} among {len(self.pool)}")
        return self


@dataclass(frozen=True)
class Pool(Policy):
    """A pool of networks; each step has one of them, drawn uniformly, which is then trained on S for one step of Adam.

    One that was trained for ``age`` steps is replaced by a fresh one when it is drawn again. Training is by the loss
    that S's labels are made for, each batch under a draw of the recipe's augmentation.

    **Reference**: Zhou et al., FRePo, NeurIPS 2022, Algorithm 1.

    **Differs**: a network is trained when the next step begins, on S as it is then.
    """

    memory: ClassVar[Any] = PoolState | Nothing

    networks: Count = 10
    """Networks in the pool. Published: 10."""
    age: Count = 100
    """Steps of training after which a network is replaced. Published: 100."""
    lr: Positive = 3e-4
    """Adam's learning rate. Published: 3e-4."""
    batch: Count = 500
    """Largest number of items of S per step."""

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        super().check_state(state, network)
        for member in state.get("pool", ()):
            if member["adam"] is not None:
                adam = torch.optim.Adam(member["params"].values(), lr=self.lr)
                OptimiserState.model_validate(member["adam"]).check(adam)

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        pool = state.setdefault("pool", [])
        if "used" in state:
            self._train(pool[state["used"]], synthetic, ctx)
        place = min(int(torch.randint(self.networks, (), generator=ctx.rng["policy"])), len(pool))
        if place == len(pool) or pool[place]["age"] == self.age:
            fresh = ctx.fresh()
            pool[place : place + 1] = [{"params": fresh.params, "buffers": fresh.buffers, "adam": None, "age": 0}]
        state["used"] = place
        member = pool[place]
        return Draw(ctx.network, member["params"], member["buffers"], age=member["age"])

    def _train(self, member: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> None:
        params = {name: value.clone().requires_grad_() for name, value in member["params"].items()}
        optimiser = torch.optim.Adam(params.values(), lr=self.lr)
        if member["adam"] is not None:
            optimiser.load_state_dict(member["adam"])
        rows = torch.randperm(len(synthetic), generator=ctx.rng["policy"])[: self.batch]
        with torch.no_grad():
            inputs, targets = synthetic.take(rows)
        step_on(inputs, targets, synthetic, Draw(ctx.network, params, member["buffers"]), ctx, optimiser)
        member["params"] = {name: value.detach() for name, value in params.items()}
        member["adam"] = optimiser.state_dict()
        member["age"] += 1
