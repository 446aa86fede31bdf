"""Loops whose lengths follow the accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ddcore.context import Context
from ddcore.networks.probe import by_centres, class_means, predicted_shares
from ddcore.policies.base import Policy
from ddcore.policies.training import epochs_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group, Params


@dataclass(frozen=True)
class UntilSteady(Policy):
    """A network serves until S is steady at it, then is trained on S until it is steady itself; ``rounds`` times.

    Before each step but a network's first, the share of T is taken that the network's features classify rightly by
    inner products with the class centres of S. Once the last ``window`` of these shares lie within ``served`` of each
    other, or after ``steps`` steps, the round is over. Then the network is trained on S, an epoch at a time, until
    the shares of T that its own logits classify rightly after the last ``window`` epochs lie within ``trained``, or
    for ``epochs``. After its last round a fresh network comes. Shares are means over classes, of ``real`` items of T
    each. Training is SGD at ``lr`` without momentum on batches of ``batch``, each under its own draw of the recipe's
    augmentation.

    Reference: Wang et al., CAFE, CVPR 2022, Section 3.4 (served is lambda_1, trained lambda_2). Differs: the paper
    leaves open how long the windows are and where the loops end at the latest; both are fields here.
    """

    served: float = 0.04
    trained: float = 0.03
    window: int = 5
    rounds: int = 2
    steps: int = 20
    epochs: int = 20
    real: int = 64
    batch: int = 256
    lr: float = 0.01

    def faults(self) -> Iterator[str]:
        if min(self.window, self.rounds, self.steps, self.epochs, self.real, self.batch) < 1:
            yield (f"{self}: window, rounds, steps, epochs, real and batch must be at least 1.")

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        if state:
            draw = Draw(ctx.network, state["params"], state["buffers"], age=state["age"])
            with torch.no_grad():
                features = draw(synthetic.everything()[0], features=True)
            centres = class_means(features, synthetic.carrier.classes, ctx.card.classes)
            state["shares"].append(self._share(by_centres(draw, centres), ctx))
            if len(state["shares"]) == self.steps or self._steady(state["shares"], self.served):
                state["round"] += 1
                state["shares"] = []
                if state["round"] < self.rounds:
                    state["params"], steps = self._trained(draw, synthetic, ctx)
                    state["age"] += steps
        if not state or state["round"] == self.rounds:
            fresh = ctx.fresh()
            state.update(params=fresh.params, buffers=fresh.buffers, age=0, round=0, shares=[])
        return Draw(ctx.network, state["params"], state["buffers"], age=state["age"])

    def _steady(self, shares: list[float], within: float) -> bool:
        last = shares[-self.window :]
        return len(last) == self.window and max(last) - min(last) < within

    def _share(self, draw: Draw, ctx: Context) -> float:
        """The share of T that ``draw`` classifies rightly, through the gate."""
        groups = [Group((c,), self.real) for c in range(ctx.card.classes)]
        answers = ctx.gate.features(predicted_shares(draw), groups)
        return float(torch.stack(answers).diagonal().mean())

    def _trained(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> tuple[Params, int]:
        """The parameters after training, and how many steps that took."""
        params = {name: value.detach().clone().requires_grad_() for name, value in draw.params.items()}
        at = Draw(draw.network, params, draw.buffers)
        shares: list[float] = []
        total = 0
        for steps in epochs_on(synthetic, at, ctx, self.lr, self.batch):
            total += steps
            shares.append(self._share(at, ctx))
            if len(shares) == self.epochs or self._steady(shares, self.trained):
                break
        return {name: value.detach() for name, value in params.items()}, total
