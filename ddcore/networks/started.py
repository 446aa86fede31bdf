"""A network that begins elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from ddcore.types import Network, Params


@dataclass(frozen=True, eq=False)
class Started:
    """``network`` that begins where ``start`` says instead of where its own start would be."""

    network: Network
    start: Callable[[Generator], tuple[Params, Params]]
    """Parameters and buffers, drawn from a generator."""

    @property
    def per_sample(self) -> bool:
        return self.network.per_sample

    def init(self, generator: Generator) -> tuple[Params, Params]:
        return self.start(generator)

    def __call__(
        self,
        params: Params,
        buffers: Params,
        x: Tensor,
        *,
        features: bool = False,
        training: bool = True,
        ensemble: int | None = None,
    ) -> Tensor:
        return self.network(params, buffers, x, features=features, training=training, ensemble=ensemble)
