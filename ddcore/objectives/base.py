"""What every objective is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from torch import Tensor

from ddcore.context import Context
from ddcore.parts import Part
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Replay


class Objective(Part, kind="objective"):
    """Says how far S is from T at a network, and writes the gradient of that.

    An objective writes gradients instead of returning a loss, so that a method may hold one class in memory
    at a time, or step more often than once.
    """

    @property
    def step_sizes(self) -> int:
        """Learned step sizes that S must bring for it to train at: none, one for all steps, or one per step."""
        return max((part.step_sizes for _, part in self.parts() if isinstance(part, Objective)), default=0)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"step_size"} if self.step_sizes else ())

    def replay(self, synthetic: SyntheticSet) -> Replay | None:
        """The training on S that S is made for, where its order matters; None where it does not."""
        found = [part.replay(synthetic) for _, part in self.parts() if isinstance(part, Objective)]
        return next((replay for replay in found if replay is not None), None)

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
