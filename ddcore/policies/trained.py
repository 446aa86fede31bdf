"""Networks that are trained between the steps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

from ddcore.bounds import Count, Positive
from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.optimisers import Optimiser, Sgd
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Number
from ddcore.policies.training import epochs_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params


class TrainedState(NetState):
    """The network, the steps that it has served, and those that it was trained for."""

    served: Number
    age: Number


class Trained(Policy):
    """A network serves several rounds and is trained between them; then a fresh one comes."""

    memory: ClassVar[Any] = TrainedState | Nothing

    rounds: Count
    """Rounds that a network serves."""
    steps: Count
    """Steps of S per round, all at the same parameters."""

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        if not state or state["served"] == self.rounds * self.steps:
            draw = ctx.fresh()
            state.update(params=draw.params, buffers=draw.buffers, served=0, age=0)
        elif state["served"] % self.steps == 0:
            state["params"], steps = self.trained(self._at(state, ctx), synthetic, ctx)
            state["age"] += steps
        state["served"] += 1
        return self._at(state, ctx)

    @staticmethod
    def _at(state: dict[str, Any], ctx: Context) -> Draw:
        return Draw(ctx.network, state["params"], state["buffers"], age=state["age"])

    @abstractmethod
    def trained(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> tuple[Params, int]:
        """The parameters after training from ``draw``, and its number of steps."""


@dataclass(frozen=True)
class TrainedOnSynthetic(Trained):
    """A network serves several rounds and is trained on S between them; then a fresh one comes.

    Each batch is under its own draw of the recipe's augmentation; the optimiser starts anew in each round.

    **Reference**: Zhao, Mopuri and Bilen, ICLR 2021, Algorithm 1 (rounds T, epochs from the steps on theta).
    """

    rounds: Count = 10
    """Rounds that a network serves. Published by ipc 1, 10, 50: 1, 10, 50."""
    epochs: Count = 50
    """Epochs on S between two rounds. Published by ipc 10, 50: 50, 10."""
    batch: Count = 256
    """Items of S per step of training."""
    lr: Positive = 0.01
    """Learning rate of training on S. Published: 0.01."""
    steps: Count = 1
    """Steps of S per round, all at the same parameters."""
    optimiser: Optimiser = Sgd(momentum=0.0)
    """What trains on S. Published: SGD without momentum."""

    def trained(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> tuple[Params, int]:
        params = {name: value.detach().clone().requires_grad_() for name, value in draw.params.items()}
        optimiser = self.optimiser.build((params.values(), self.lr))
        training = epochs_on(synthetic, replace(draw, params=params), ctx, optimiser, self.batch)
        steps = sum(islice(training, self.epochs))
        return {name: value.detach() for name, value in params.items()}, steps


@dataclass(frozen=True)
class TrainedOnReal(Trained):
    """A network serves several rounds and is trained on T between them; then a fresh one comes.

    **Reference**: Kim et al., IDC, ICML 2022, Algorithm 1.

    **Differs**: the momentum of the training starts anew in each round.
    """

    rounds: Count = 100
    """Rounds that a network serves. Published: 100."""
    fit: Fit = Fit()
    """How it is trained on T between two rounds."""
    steps: Count = 1
    """Steps of S per round, all at the same parameters."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"fit"} if self.rounds > 1 else ())

    def trained(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> tuple[Params, int]:
        *_, params = ctx.gate.fit(draw, self.fit)
        return params, self.fit.length(sum(ctx.card.counts))
