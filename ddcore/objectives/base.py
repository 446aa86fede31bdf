"""What every objective is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddcore.gate import Context
from ddcore.parts import Part
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class Objective(Part, kind="objective"):
    """Says how far S is from T at a network, and writes the gradient of that.

    An objective writes gradients instead of returning a loss, so that a method may hold one class in memory
    at a time, or step more often than once.
    """

    @property
    def takes_step_size(self) -> bool:
        """It trains on S at the step size that S brings."""
        return any(part.takes_step_size for _, part in self.parts() if isinstance(part, Objective))

    def check(self, network: Network) -> None:
        """Raises RecipeRefused where it, or a part it holds, cannot be had of ``network``."""
        for _, part in self.parts():
            if isinstance(part, Objective):
                part.check(network)

    @abstractmethod
    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        """Add to the gradients of ``synthetic``; each yield (of the loss) means: written, step now."""


class LossObjective(Objective):
    """The common case: one loss, one step."""

    @abstractmethod
    def loss(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Tensor: ...

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        value = self.loss(draw, synthetic, ctx)
        value.backward()
        yield float(value.detach())


def by_bytes(synthetic: SyntheticSet, classes: Sequence[int], ctx: Context) -> Iterator[list[int]]:
    """The classes in lots whose items of S fit one chunk of memory, at least one class in each."""
    lot: list[int] = []
    held = 0
    counts = torch.bincount(synthetic.carrier.classes, minlength=ctx.card.classes).tolist()
    for c in classes:
        if lot and held + counts[c] > ctx.room:
            yield lot
            lot, held = [], 0
        lot.append(c)
        held += counts[c]
    if lot:
        yield lot
