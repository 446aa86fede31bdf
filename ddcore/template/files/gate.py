"""A gate that counts what it is asked, and stops the run when that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Rationed(dd.GatePlan):
    """The open gate, which answers so many requests for features and gradients and then ends the run in good order."""

    most: dd.Count = 10_000
    """Requests that are answered."""

    @property
    def serves(self) -> frozenset[str]:
        return frozenset({"gradient", "features", "statistics", "examples", "fit"})

    def build(self, source: dd.Source, rng: dd.Streams) -> RationedGate:
        return RationedGate(dd.Open().build(source, rng), self.most)


class RationedGate(dd.WrappedGate):
    def __init__(self, gate: dd.Gate, most: int) -> None:
        super().__init__(gate)
        self.most, self.answered = most, 0

    def gradient(self, draw: dd.Draw, groups: Sequence[dd.Group], loss: dd.ItemLoss) -> list[dd.Params]:
        self._count()
        return super().gradient(draw, groups, loss)

    def features(self, draw: dd.Draw, groups: Sequence[dd.Group]) -> list[Tensor]:
        self._count()
        return super().features(draw, groups)

    def _count(self) -> None:
        if self.answered >= self.most:
            raise dd.StopRun(f"{self.most} requests are answered, which is the ration")
        self.answered += 1

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "answered": self.answered}

    def state_dict(self) -> dict[str, Any]:
        return {"answered": self.answered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.answered = int(state["answered"])
