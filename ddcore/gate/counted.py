"""A gate that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ddcore.gate.base import Gate
from ddcore.gate.wrapped import WrappedGate
from ddcore.types import Batch, Draw, Group, ItemLoss, Params


class CountedGate(WrappedGate):
    """Another gate that names each disclosure to ``count`` before it asks; a fit is one."""

    def __init__(self, gate: Gate, count: Callable[[str], None]) -> None:
        super().__init__(gate)
        self._count = count

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        self._count("gradient")
        return super().gradient(draw, groups, loss)

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        self._count("features")
        return super().features(draw, groups)

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        self._count("statistics")
        return super().statistics(pixels)

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        self._count("examples")
        return super().examples(groups)

    def fit(self, *arguments: Any, **named: Any) -> list[Params]:
        self._count("fit")
        return super().fit(*arguments, **named)
