"""A second player that is trained with another policy's networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from ddcore.bounds import Decay, NotNegative, Positive
from ddcore.context import Context
from ddcore.distance import likeness
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Parameters
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class RivalState(NetState):
    """Where the rival stands."""

    velocity: Parameters


@dataclass(frozen=True)
class Rival(Policy):
    """``policy``'s networks, and with each (``Draw.rival``) a network of its own that is trained on S before each step.

    The rival descends l(S) - ``alike`` times the mean cosine of items that come from one base, one step of SGD per step
    of S. What S gains by making items unlike it has to gain against a network that is trained to see them as alike.

    **Reference**: Liu et al., HaBa, NeurIPS 2022, Section 3.3; rates from the authors' code.
    """

    memory: ClassVar[Any] = RivalState | Nothing

    policy: Policy
    """The policy whose networks S is compared at."""
    lr: Positive = 0.001
    """Learning rate of the rival. Published: 0.001."""
    momentum: Decay = 0.9
    """Momentum of the rival. Published: 0.9."""
    alike: NotNegative = 0.1
    """Weight of the cosine in the rival's loss. Published: 0.1."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"})

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"rival"})

    @property
    def fits(self) -> int:
        return self.policy.fits

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        own = dict(state)
        self.policy.check_state(own.pop("inner", {}), network)
        super().check_state(own, network)

    def facts(self, state: dict[str, Any]) -> dict[str, Any]:
        return self.policy.facts(state.get("inner", {}))

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        draw = self.policy.draw(state.setdefault("inner", {}), synthetic, ctx)
        if "params" not in state:
            fresh = ctx.fresh()
            velocity = {name: torch.zeros_like(value) for name, value in fresh.params.items()}
            state.update(params=fresh.params, buffers=fresh.buffers, velocity=velocity)
        self._train(state, synthetic, ctx)
        return replace(draw, rival=state["params"])

    def _train(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> None:
        with torch.no_grad():
            inputs, targets = synthetic.everything()
        params = {name: value.detach().requires_grad_() for name, value in state["params"].items()}
        rival = Draw(ctx.network, params, state["buffers"])
        loss = synthetic.labels.loss(rival(inputs), targets).mean()
        loss = loss - self.alike * likeness(rival(inputs, features=True), synthetic.carrier.origin)
        gradients = torch.autograd.grad(loss, list(params.values()))
        velocity = {n: self.momentum * state["velocity"][n] + g for n, g in zip(params, gradients, strict=True)}
        state["velocity"] = velocity
        state["params"] = {name: value.detach() - self.lr * velocity[name] for name, value in params.items()}
