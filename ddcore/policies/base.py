"""What every policy is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import TypeAdapter

from ddcore.context import Context
from ddcore.parts import Part
from ddcore.policies.memory import shapes_of
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network


class Policy(Part, kind="policy"):
    """Says at which networks S is compared with T.

    All it remembers is in ``state``, a plain dict of tensors, numbers, lists and dicts that the run keeps
    and a checkpoint copies; the policy itself is a value.
    """

    @property
    def fits(self) -> int:
        """Networks that it trains on T in the course of a run, each as a stage of its own that tells its progress."""
        return 1

    memory: ClassVar[Any] = dict[str, Any]
    """What ``state`` looks like between two steps, and wherever the run may be interrupted, as a type of pydantic."""

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        """Raises ValueError where ``state``, of a checkpoint, is not what this policy remembers of ``network``."""
        TypeAdapter(self.memory).validate_python(state, strict=True, context=shapes_of(network))

    def facts(self, state: dict[str, Any]) -> dict[str, Any]:
        """What the card shall say of its networks so far, as JSON can hold it; nothing by default."""
        return {}

    @abstractmethod
    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        """The network of the next step."""
