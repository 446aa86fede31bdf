"""Presets: protocols with a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ddcore.evaluation.protocol import Protocol
from ddcore.types import Citation

F = TypeVar("F", bound=Callable[[], Protocol])


def preset(*cites: Citation) -> Callable[[F], F]:
    """Mark a function that returns a protocol as a preset, with its papers; its docstring describes it."""

    def mark(function: F) -> F:
        function.kind = "protocol"  # type: ignore[attr-defined]
        function.cites = cites  # type: ignore[attr-defined]
        return function

    return mark
