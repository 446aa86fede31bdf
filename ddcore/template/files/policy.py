"""One network for several steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddcore import plugin as dd


@dataclass(frozen=True)
class Lasting(dd.Policy):
    """A newly initialised network that serves ``rounds`` steps before the next one."""

    rounds: dd.Count = 5
    """Steps that a network serves."""

    def draw(self, state: dict[str, Any], synthetic: dd.SyntheticSet, ctx: dd.Context) -> dd.Draw:
        if ctx.step() % self.rounds == 0 or "params" not in state:
            fresh = ctx.fresh()
            state.update(params=fresh.params, buffers=fresh.buffers)
        return dd.Draw(ctx.network, state["params"], state["buffers"])
