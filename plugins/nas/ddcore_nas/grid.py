"""The grid of 720 ConvNets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ddcore import plugin as dd
from ddcore_nas.papers import DC
from ddcore_nas.space import Space, faulty

Activation = Literal["sigmoid", "relu", "leaky_relu", "swish"]
Norm = Literal["none", "batch", "layer", "instance", "group"]
Pooling = Literal["none", "max", "avg"]


@dataclass(frozen=True)
class ConvNets(Space):
    """ConvNets of each width, depth, activation, normalisation and pooling: 720 as published.

    **Reference**: Zhao et al., ICLR 2021, Section 4.3.
    """

    suits = frozenset({"image", "signal"})
    cites = (DC,)

    widths: tuple[dd.Count, ...] = (32, 64, 128, 256)
    """Channels."""
    depths: tuple[dd.Count, ...] = (1, 2, 3, 4)
    """Blocks."""
    activations: tuple[Activation, ...] = ("sigmoid", "relu", "leaky_relu")
    """Activations."""
    norms: tuple[Norm, ...] = ("none", "batch", "layer", "instance", "group")
    """Normalisations."""
    poolings: tuple[Pooling, ...] = ("none", "max", "avg")
    """Poolings."""

    def faults(self) -> Iterator[str]:
        yield from faulty(
            widths=self.widths,
            depths=self.depths,
            activations=self.activations,
            norms=self.norms,
            poolings=self.poolings,
        )

    def decisions(self) -> Mapping[str, tuple[Any, ...]]:
        return {
            "width": self.widths,
            "depth": self.depths,
            "activation": self.activations,
            "norm": self.norms,
            "pooling": self.poolings,
        }

    def network(self, chosen: Mapping[str, Any]) -> dd.NetworkPlan:
        return dd.ConvNet(**chosen)
