"""One network that is trained on T and then fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.policies.base import Policy
from ddcore.policies.memory import NetState, Nothing, State, TrainingState, check_training
from ddcore.policies.training import trained_on
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class TeachingState(State):
    """The teacher before it is trained."""

    training: TrainingState


@dataclass(frozen=True)
class Teacher(Policy):
    """Every step has the same network, trained on T when it is first drawn; the run may be interrupted in between.

    **Reference**: Yin, Xing and Shen, SRe2L, NeurIPS 2023, Section 3.2 (squeeze).
    """

    memory: ClassVar[Any] = NetState | TeachingState | Nothing

    fit: Fit = Fit()
    """How it is trained on T."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"teacher", "trained_network"})

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        super().check_state(state, network)
        check_training(state, self.fit)

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        if "params" not in state:
            (*_, params), buffers = trained_on(state, self.fit, "training the teacher", ctx)
            state.update(params=params, buffers=buffers)
        age = self.fit.length(sum(ctx.card.counts))
        return Draw(ctx.network, state["params"], state["buffers"], age=age)
