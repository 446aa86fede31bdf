"""A gate round another one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

from torch import Tensor

from ddcore.gate.base import Gate
from ddcore.gate.spent import Spent
from ddcore.rng import Streams
from ddcore.types import Batch, Draw, Group, ItemLoss, Params


class WrappedGate(Gate):
    """Another gate with one thing changed: all else is ``gate``'s.

    A fit is ``gate``'s too: one that shall go by this gate's own gradients has ``fit = Gate.fit``.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.source, gate.rng)
        self.gate = gate

    def with_streams(self, rng: Streams) -> Self:
        twin = copy(self)
        twin.gate = self.gate.with_streams(rng)
        twin.rng = twin.gate.rng
        return twin

    @property
    def unwrapped(self) -> Gate:
        return self.gate.unwrapped

    @property
    def fingerprint(self) -> str | None:
        return self.gate.fingerprint

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        return self.gate.gradient(draw, groups, loss)

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        return self.gate.features(draw, groups)

    def clip_features(self, features: Tensor) -> Tensor:
        return self.gate.clip_features(features)

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        return self.gate.statistics(pixels)

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        return self.gate.examples(groups)

    def fit(self, *arguments: Any, **named: Any) -> list[Params]:
        return self.gate.fit(*arguments, **named)

    def find(self, view: type) -> Any:
        return self.gate.find(view)

    def spent(self) -> Spent | None:
        return self.gate.spent()

    def facts(self) -> dict[str, Any]:
        return self.gate.facts()

    def state_dict(self) -> dict[str, Any]:
        return self.gate.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gate.load_state_dict(state)

    def ledger(self) -> dict[str, Any]:
        return self.gate.ledger()

    def load_ledger(self, before: dict[str, Any]) -> None:
        self.gate.load_ledger(before)
