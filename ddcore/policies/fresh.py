"""A newly initialised network at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ddcore.context import Context
from ddcore.policies.base import Policy
from ddcore.policies.memory import Nothing
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Fresh(Policy):
    """A newly initialised network at every step, never trained."""

    memory: ClassVar[Any] = Nothing

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        return ctx.fresh()
