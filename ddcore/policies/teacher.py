"""One network that was trained on T and then stands still."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ddcore.gate import Context, Fit
from ddcore.policies.base import Policy
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Teacher(Policy):
    """Every step has the same network, trained on T as ``fit`` says when it is first drawn; it may be left in between.

    Reference: Yin, Xing and Shen, SRe2L, NeurIPS 2023, Section 3.2 (squeeze).
    """

    fit: Fit = Fit()

    @property
    def trained_on_real(self) -> bool:
        return True

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        if not state:
            begun = ctx.fresh()
            state.update(params=begun.params, buffers=begun.buffers, training={})
        teacher = Draw(ctx.network, state["params"], state["buffers"])
        if "training" in state:
            *_, state["params"] = ctx.gate.fit(
                teacher, self.fit, "training the teacher", ctx.progress, state["training"], ctx.keep
            )
            del state["training"]
        return replace(teacher, params=state["params"], age=self.fit.length(sum(ctx.card.counts)))
