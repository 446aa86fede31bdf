"""A network whose own randomness has a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Generator, Tensor

from ddcore.types import Call, Network, WrappedNetwork


@dataclass(frozen=True, eq=False, repr=False)
class Seeded(WrappedNetwork):
    """``network``, whose dropout and the like draw from ``generators``: one, or one for each net of an ensemble."""

    generators: tuple[Generator, ...]

    def __repr__(self) -> str:
        return repr(self.network)

    def apply(self, call: Call, x: Tensor) -> Tensor:
        return self.network.apply(replace(call, generators=self.generators), x)


def seeded(network: Network, *generators: Generator) -> Network:
    """``network``, its randomness drawn from ``generators`` instead of where it was; itself where it has none."""
    if not network.stochastic:
        return network
    return Seeded(network.network if isinstance(network, Seeded) else network, generators)
