"""Nodes without links."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ddcore import plugin as dd
from ddcore_graph.carriers.base import Begun, NodesModule


@dataclass(frozen=True)
class FreeNodes(Begun):
    """Features alone: A' = I, each node hears itself.

    Networks are trained on them so, and tested on the whole graph.
    """

    def build(self, card: dd.DataCard) -> FreeModule:
        return FreeModule(self, card)


class FreeModule(NodesModule):
    def forward(self, index: Tensor) -> Tensor:
        return self.features[index]

    def nbytes(self) -> int:
        return self.features.nbytes
