"""Views: changes of T that happen inside the gate."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from torch import Tensor

from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.types import Batch, Draw


class LiveView(Protocol):
    """A view at work inside the gate."""

    def relabel(self, targets: Tensor) -> Tensor:
        """The targets (n,) that T shall have; asked once, before the classes are sorted."""
        ...

    def apply(self, batch: Batch, draw: Draw | None) -> Batch:
        """The raw batch as it shall be seen, for the network at hand (None when only counted)."""
        ...


class View(Part, kind="view"):
    """A change of T that happens inside the gate: a trigger, an attack, a corruption."""

    @abstractmethod
    def build(self, store: Store, rng: Streams) -> LiveView: ...
