"""A guarding gate whose answers are on record before they leave it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Self

from torch import Tensor

from ddcore.errors import BadCheckpoint
from ddcore.gate.base import Gate
from ddcore.gate.record import TOLD_STAYS_TOLD, SpendRecord, Told, digest
from ddcore.gate.spent import Spent
from ddcore.gate.wrapped import WrappedGate
from ddcore.ranks import ranks
from ddcore.rng import Streams
from ddcore.types import Batch, Draw, Group, ItemLoss, Params


class RecordedGate(WrappedGate):
    """A guarding gate whose answers are on record before they leave it, so that no stop makes it forget one.

    Where a run goes on from a checkpoint, it asks again what was answered after that. An answer that is bit for bit the
    one on record, to the same request, is the same disclosure and costs nothing more. Where anything differs (another
    machine, a folder that was edited) the same noise would stand in two answers, whose difference has none: then all
    secret streams begin anew, and the request and those after it are counted on top of all that is on record.

    An answer that leaves the gate's ledger as it was has been told before and is not recorded again. A fit goes through
    :meth:`gradient`, request by request.
    """

    fit = Gate.fit

    def __init__(self, gate: Gate, record: SpendRecord) -> None:
        super().__init__(gate)
        self.record = record
        self._told = 0
        self._again: deque[Told] = deque()

    def with_streams(self, rng: Streams) -> Self:
        return self

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        return self._recorded("gradient", draw, groups, loss)

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        return self._recorded("features", draw, groups)

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        return self._recorded("statistics", pixels)

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        return self._recorded("examples", groups)

    def _recorded(self, disclosure: str, *asked: Any) -> Any:
        ask, request = partial(getattr(self.gate, disclosure), *asked), digest(disclosure, *asked)
        if self._again:
            state, streams = deepcopy(self.gate.state_dict()), self.rng.seeded()
            answer, new = self._answered(ask)
            if not new:
                return answer
            if ranks().told((request, digest(answer)) == (self._again[0].request, self._again[0].answer)):
                self._again.popleft()
                self._told += 1
                return answer
            self.gate.load_state_dict(state)
            self.rng.go_back(streams)
            self._begin_anew()
        answer, new = self._answered(ask)
        if new:
            self.record.append(Told(request, digest(answer), self.gate.ledger()))
            self._told += 1
        return answer

    def _answered(self, ask: Callable[[], Any]) -> tuple[Any, bool]:
        """The gate's answer, and whether it tells anything new."""
        before = self.gate.ledger()
        answer = ask()
        after = self.gate.ledger()
        return answer, not after or after != before

    def _begin_anew(self) -> None:
        self.rng.renew_secrets()
        self.gate.load_ledger(self.record.spent)
        self._told = self.record.count
        self._again.clear()

    def _counted(self, ask: Callable[[], Any]) -> Any:
        """What the gate says where it counts all that is on record, whether this run has come to it again or not."""
        if not self._again:
            return ask()
        own = deepcopy(self.gate.state_dict())
        self.gate.load_ledger(self.record.spent)
        try:
            return ask()
        finally:
            self.gate.load_state_dict(own)

    def spent(self) -> Spent | None:
        return self._counted(self.gate.spent)

    def facts(self) -> dict[str, Any]:
        return self._counted(self.gate.facts)

    def ledger(self) -> dict[str, Any]:
        return self._counted(self.gate.ledger)

    def state_dict(self) -> dict[str, Any]:
        return {"run": self.record.run, "told": self._told, "gate": self.gate.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the requests that ``state`` knows of; those on record after them come again.

        Raises:
            BadCheckpoint: the record is another run's, or shorter.
        """
        path = self.record.path
        if state["run"] != self.record.run:
            raise BadCheckpoint(f"{path} is the record of another run than the checkpoint. {TOLD_STAYS_TOLD}")
        if state["told"] > self.record.count:
            raise BadCheckpoint(
                f"{path} ends after {self.record.count} requests, and the checkpoint was made after {state['told']}."
                f" {TOLD_STAYS_TOLD}"
            )
        self.gate.load_state_dict(state["gate"])
        self._told, self._again = state["told"], deque(self.record.after(state["told"]))
