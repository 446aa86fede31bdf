"""What every augmentation is.

``draw`` takes all the randomness; it returns a value that makes the same change whenever it is called,
so that S and T can share it, and a test can inspect it.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Generator

from ddcore.parts import Part
from ddcore.types import Transform


class Augment(Part, kind="augment"):
    """Which random changes leave a label as it is; once fitted to a card, the label of each of its items.

    It is taken to mix items, which no guarding gate admits, unless it declares ``itemwise``.
    """

    @property
    def itemwise(self) -> bool:
        return False

    @abstractmethod
    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        """A change of inputs (m, c, h, w) with ``shape`` (c, h, w).

        Without ``n`` it is one change for all items, however many; with ``n`` it is drawn separately for each of n
        items.
        """

    def at(self, share: float) -> Augment:
        """The augmentation when ``share`` of a run, from 0 to 1, is done; always the same by default."""
        return self
