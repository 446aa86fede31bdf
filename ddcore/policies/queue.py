"""A queue of networks that are trained on T while they wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ddcore.bounds import Count, Whole
from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, Number, State
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class QueuedState(NetState):
    """A network of the queue, and the steps that it was trained for."""

    age: Number


class QueueState(State):
    """The networks, the oldest first, and the steps of S so far."""

    queue: list[QueuedState]
    served: Number


@dataclass(frozen=True)
class Queue(Policy):
    """A queue of networks of many ages; each step has one of them, drawn uniformly.

    Every ``every`` steps a fresh network joins, and the oldest leaves where there are more than ``networks``. Between
    two steps ``trained`` of them, drawn likewise, are trained on T.

    **Reference**: Zhao et al., IDM, CVPR 2023, Section 4.2; numbers from the authors' code.

    **Differs**: the momentum of the training starts anew each time.
    """

    memory: ClassVar[Any] = QueueState | Nothing

    networks: Count = 100
    """Networks in the queue. Published: 100."""
    every: Count = 30
    """Steps of S from one fresh network to the next. Published: 30, or 5 at one image per class."""
    start: Count = 4
    """Networks at the first step. Published: 4."""
    trained: Whole = 2
    """Networks that are trained between two steps. Published: 1."""
    fit: Fit = Fit(steps=10, batch=256)
    """How each of those is trained on T. Published: 10 batches of 256."""

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        super().check_state(state, network)
        if len(state.get("queue", ())) > max(self.start, self.networks):
            raise ValueError(f"its queue is of more than {self.networks} networks")

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        queue, generator = state.setdefault("queue", []), ctx.rng["policy"]
        if not queue:
            queue += [self._fresh(ctx) for _ in range(min(self.start, self.networks))]
            state["served"] = 0
        else:
            for place in torch.randperm(len(queue), generator=generator)[: self.trained].tolist():
                self._train(queue[place], ctx)
            if state["served"] % self.every == 0:
                queue.append(self._fresh(ctx))
                del queue[: -self.networks]
        state["served"] += 1
        member = queue[int(torch.randint(len(queue), (), generator=generator))]
        return Draw(ctx.network, member["params"], member["buffers"], age=member["age"])

    @staticmethod
    def _fresh(ctx: Context) -> dict[str, Any]:
        fresh = ctx.fresh()
        return {"params": fresh.params, "buffers": fresh.buffers, "age": 0}

    def _train(self, member: dict[str, Any], ctx: Context) -> None:
        draw = Draw(ctx.network, member["params"], member["buffers"], age=member["age"])
        *_, member["params"] = ctx.gate.fit(draw, self.fit)
        member["age"] += self.fit.length(sum(ctx.card.counts))
