"""Networks that are trained between the steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from ddcore.gate import Context
from ddcore.policies.base import Policy, epochs_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params


@dataclass(frozen=True)
class TrainedOnSynthetic(Policy):
    """A network serves ``rounds`` rounds, trained on S for ``epochs`` between one and the next; then a fresh one.

    A round is ``steps`` steps at the same parameters. Training is SGD at ``lr`` without momentum on batches of
    ``batch``, each batch under its own draw of the recipe's augmentation.

    Reference: Zhao, Mopuri and Bilen, ICLR 2021, Algorithm 1 (rounds T, epochs from the steps on theta).
    """

    rounds: int = 10
    epochs: int = 50
    batch: int = 256
    lr: float = 0.01
    steps: int = 1

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        if not state or state["served"] == self.rounds * self.steps:
            draw = ctx.fresh()
            state.update(params=draw.params, buffers=draw.buffers, served=0, age=0)
        elif state["served"] % self.steps == 0:
            state["params"], steps = self._trained(state, synthetic, ctx)
            state["age"] += steps
        state["served"] += 1
        return Draw(ctx.network, state["params"], state["buffers"], age=state["age"])

    def _trained(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> tuple[Params, int]:
        params = {name: value.detach().clone().requires_grad_() for name, value in state["params"].items()}
        draw = Draw(ctx.network, params, state["buffers"])
        steps = sum(islice(epochs_on(synthetic, draw, ctx, self.lr, self.batch), self.epochs))
        return {name: value.detach() for name, value in params.items()}, steps
