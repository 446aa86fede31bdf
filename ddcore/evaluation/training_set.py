"""What networks can be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as Interface

from torch import Tensor

from ddcore.gate.source import Source
from ddcore.losses import LossName
from ddcore.preprocess import Fitted
from ddcore.store import Store


class TrainingSet(Interface):
    """What networks can be trained on."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes to store it."""
        ...

    @property
    def step_sizes(self) -> Tensor | None:
        """Learning rates (t,) that come with it, or None."""
        ...

    @property
    def order(self) -> Tensor | tuple[Tensor, ...] | None:
        """The items (t, b) for each of t steps, or None where any order will do."""
        ...

    @property
    def momentum(self) -> float:
        """The momentum of SGD in the steps of ``order``."""
        ...

    @property
    def loss(self) -> LossName:
        """The loss that its targets are made for."""
        ...

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Preprocessed inputs and targets at ``index`` (n,)."""
        ...


@dataclass(frozen=True)
class Preprocessed:
    """A real store as networks take it; a gate's source under its views, which see no network here."""

    store: Store | Source
    preprocess: Fitted
    step_sizes: None = None
    order: None = None
    momentum: float = 0.0

    @property
    def loss(self) -> LossName:
        return self._plain.loss

    @property
    def nbytes(self) -> int:
        return self._plain.nbytes

    @property
    def content(self) -> str:
        """A hash of the real items and labels, as they are before any view."""
        return self._plain.content

    @property
    def _plain(self) -> Store:
        return self.store.store if isinstance(self.store, Source) else self.store

    def __len__(self) -> int:
        return len(self._plain)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        batch = self._plain.take(index)
        if isinstance(self.store, Source):
            batch = self.store.raw(batch, None)
        return self.preprocess(batch.inputs), batch.targets
