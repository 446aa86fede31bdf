"""A second player beside another policy's network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ddcore.context import Context
from ddcore.distance import likeness
from ddcore.policies.base import Policy
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Rival(Policy):
    """``policy``'s networks, and beside them (``Draw.rival``) one network of its own, trained on S before each step.

    The rival learns S by the loss of its labels, and to see the items that come from one base as alike: it descends
    l(S) - ``alike`` times their mean cosine, by SGD at ``lr``, one step a step. What S gains by unlikeness it has
    to gain against such eyes.

    Reference: Liu et al., HaBa, NeurIPS 2022, Section 3.3; rates from the authors' code.
    """

    policy: Policy
    lr: float = 0.001
    momentum: float = 0.9
    alike: float = 0.1

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"rival"})

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
