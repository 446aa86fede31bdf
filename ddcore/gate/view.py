"""Views: changes of T that happen inside the gate."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.types import Batch, Draw


class LiveView:
    """A view at work inside the gate. The defaults change nothing.

    The draws that it is handed take raw inputs, as ``batch`` holds them: the run's preprocessing comes first
    (``Draw.before``). They are copies, and gradients are enabled, whichever disclosure was asked for; ``Draw.loss`` is
    the loss where a gradient was. What leaves :meth:`apply` is detached.
    """

    def relabel(self, targets: Tensor) -> Tensor:
        """The targets (n,) that T shall have, of ``targets`` (n,) in the rows of the store that the view was built on.

        Called once, before the classes are sorted.
        """
        return targets

    def follow(self, draw: Draw) -> None:
        """Called with the network of each step, before the objective asks for anything; not inside a fit."""

    def apply(self, batch: Batch, draw: Draw | None) -> Batch:
        """The raw ``batch`` as it shall be seen: as many items, at the same places.

        ``batch.index`` is each item's place in its source, whatever was sorted or left out since. ``draw`` is the
        network of the request, the one in training during a fit; None where no network is asked about.
        """
        return batch

    def facts(self) -> dict[str, Any]:
        """What the artefact's card shall say of T under this view, as JSON can write it.

        ``warnings`` are sentences that whoever is shown the set must read: reports, comparisons and the command line
        repeat them. They, and lists of tables that several views state under one name, follow one another.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the view must remember across a stop: tensors, numbers, strings, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, its tensors on the run's device."""
        if state:
            raise ValueError(f"{type(self).__name__} remembers nothing, and is to take back {sorted(state)}")


class View(Part, kind="view"):
    """A change of T that happens inside the gate: a trigger, an attack, a corruption.

    A view is taken to mix items, which no guarding gate admits, unless it declares ``itemwise``: what it makes of an
    item depends on that item alone, on the network, and on what is drawn from the streams it was built with.
    """

    @property
    def itemwise(self) -> bool:
        return False

    @abstractmethod
    def build(self, store: Store, rng: Streams) -> LiveView:
        """The view at work on ``store``, whose items a guarding gate seals: it then has labels and places alone."""
