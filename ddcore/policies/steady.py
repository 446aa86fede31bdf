"""Loops whose lengths follow the accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ddcore.bounds import Count, NotNegative, Positive
from ddcore.context import Context
from ddcore.networks.probe import by_centres, class_means, predicted_shares
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Number
from ddcore.policies.training import epochs_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group, Params


class SteadyState(NetState):
    """The network, the steps that it was trained for, its rounds, and the shares of the one in hand."""

    age: Number
    round: Number
    shares: list[float]


@dataclass(frozen=True)
class UntilSteady(Policy):
    """A network serves until S is steady at it, then is trained on S until it is steady itself; ``rounds`` times.

    Before each step but a network's first, the share of T is taken that the network's features classify correctly by
    inner products with the class centres of S. The round ends once the last ``window`` of these shares lie within
    ``served`` of each other, or after ``steps`` steps. Then the network is trained on S, an epoch at a time, by SGD
    without momentum under the recipe's augmentation, until the shares of T that its own logits classify correctly after
    the last ``window`` epochs lie within ``trained`` of each other, or for ``epochs``. After its last round a fresh
    network comes.

    **Reference**: Wang et al., CAFE, CVPR 2022, Section 3.4 (served is lambda_1, trained lambda_2).

    **Differs**: the paper leaves open how long the windows are and where the loops end at the latest; both are fields
    here.
    """

    memory: ClassVar[Any] = SteadyState | Nothing

    served: NotNegative = 0.04
    """Spread of shares at which S counts as steady. Published: 0.04."""
    trained: NotNegative = 0.03
    """Spread of shares at which a network counts as steady. Published: 0.03."""
    window: Count = 5
    """Shares that are compared."""
    rounds: Count = 2
    """Rounds that a network serves."""
    steps: Count = 20
    """Largest number of steps of S per round."""
    epochs: Count = 20
    """Largest number of epochs on S between two rounds."""
    real: Count = 64
    """Items of T per class behind a share, which is a mean over classes."""
    batch: Count = 256
    """Items of S per step of training."""
    lr: Positive = 0.01
    """Learning rate of training on S."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"})

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
        optimiser = torch.optim.SGD(params.values(), lr=self.lr)
        for steps in epochs_on(synthetic, at, ctx, optimiser, self.batch):
            total += steps
            shares.append(self._share(at, ctx))
            if len(shares) == self.epochs or self._steady(shares, self.trained):
                break
        return {name: value.detach() for name, value in params.items()}, total
