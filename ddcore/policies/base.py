"""What every policy is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ddcore.context import Context
from ddcore.parts import Part
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


class Policy(Part, kind="policy"):
    """Says at which networks S is compared with T.

    All it remembers is in ``state``, a plain dict of tensors, numbers, lists and dicts that the run keeps
    and a checkpoint copies; the policy itself is a value.
    """

    @abstractmethod
    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        """The network of the next step."""
