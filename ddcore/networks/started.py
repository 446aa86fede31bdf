"""A network that starts from given parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from ddcore.types import Params, WrappedNetwork


@dataclass(frozen=True, eq=False)
class Started(WrappedNetwork):
    """``network`` with another start than its own."""

    start: Callable[[Generator], tuple[Params, Params]]
    """Parameters and buffers, drawn from a generator."""

    def init(self, generator: Generator) -> tuple[Params, Params]:
        return self.start(generator)
