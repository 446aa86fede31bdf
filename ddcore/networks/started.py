"""A network that begins elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from ddcore.types import Params, WrappedNetwork


@dataclass(frozen=True, eq=False)
class Started(WrappedNetwork):
    """``network`` that begins where ``start`` says instead of where its own start would be."""

    start: Callable[[Generator], tuple[Params, Params]]
    """Parameters and buffers, drawn from a generator."""

    def init(self, generator: Generator) -> tuple[Params, Params]:
        return self.start(generator)
