"""The tangent kernel of an infinitely wide graph network, and what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.nodes import Nodes

RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Ridges to choose from, in units of the mean of the kernel's diagonal."""


@dataclass(frozen=True)
class NodeTangent(dd.Kernel):
    """The tangent kernel of a dense network on rows of A^k X; nodes without links stand for such rows.

    **Reference**: Wang et al., GC-SNTK, WWW 2024.

    **Differs**: links come before the network, not into every layer's kernel.
    """

    suits = frozenset({"node"})
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.WANG,)

    hops: dd.Count = 2
    """Hops k."""
    dense: dd.DenseTangent = dd.DenseTangent(depth=2)
    """The dense network."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.dense(*(z.propagated(self.hops) if isinstance(z, Nodes) else z for z in (x, y)))


def tangent_accuracy(
    kernel: NodeTangent, inputs: Tensor, classes: Tensor, data: dd.RealData, ridges: Sequence[float] = RIDGES
) -> float:
    """Accuracy in percent on the test nodes of a kernel ridge regression on ``inputs`` and ``classes`` (n,).

    An infinitely wide network, so to say. The ridge is the one that is best on the nodes to choose on.
    """
    with torch.no_grad():
        own = kernel(inputs, inputs)
        wanted = torch.eye(data.card.classes, dtype=own.dtype)[classes.cpu()].to(own) - 1 / data.card.classes
        weights = [torch.linalg.solve(dd.regularised(own, ridge), wanted) for ridge in ridges]

        def right(store: dd.Store, weight: Tensor) -> float:
            parts = (store.take(rows) for rows in torch.arange(len(store)).split(1024))
            hits = [(kernel(b.inputs, inputs) @ weight).argmax(1) == b.targets for b in parts]
            return 100 * float(torch.cat(hits).double().mean())

        held = data.validation
        best = weights[-1] if held is None else max(weights, key=lambda weight: right(held, weight))
        return right(data.test, best)
