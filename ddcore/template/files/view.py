"""Noise on real items, told on the card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator

from ddcore import plugin as dd


@dataclass(frozen=True)
class Foggy(dd.View):
    """Normal noise is added to each raw item, anew each time it is seen."""

    deviation: dd.NotNegative = 0.05
    """Standard deviation of the noise, in units of raw values."""

    @property
    def itemwise(self) -> bool:
        return True

    def build(self, store: dd.Store, rng: dd.Streams) -> LiveFoggy:
        return LiveFoggy(self.deviation, rng["foggy"])


class LiveFoggy(dd.LiveView):
    def __init__(self, deviation: float, generator: Generator) -> None:
        self.deviation, self.generator = deviation, generator

    def apply(self, batch: dd.Batch, draw: dd.Draw | None) -> dd.Batch:
        noise = torch.randn(batch.inputs.shape, generator=self.generator).to(batch.inputs.device)
        return replace(batch, inputs=batch.inputs + self.deviation * noise)

    def facts(self) -> dict[str, Any]:
        return {"fog": [{"deviation": self.deviation}]}
