"""What a part may use while a run is going on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from ddcore.chunking import chunk_size
from ddcore.device import all_sent
from ddcore.gate.base import Gate
from ddcore.networks.seeded import seeded
from ddcore.rng import Streams
from ddcore.types import DataCard, Draw, Network, Progress, Transform


@dataclass(frozen=True)
class Context:
    """What a part may use while a run is going on."""

    card: DataCard
    network: Network
    gate: Gate
    rng: Streams
    device: torch.device
    transform: Callable[..., Transform]
    """Draws the recipe's augmentation: one for all items or, given n, one for each of n; the identity without one."""
    step: Callable[[], int] = lambda: 0
    """Steps of the run that are done."""
    progress: Progress | None = None
    """Called during long work that is not a step."""
    keep: Callable[[], None] | None = None
    """Called in mid-step where all that the step has done stands in the states, so that the run may be left there."""

    @cached_property
    def room(self) -> int:
        """How many items fit one chunk by their largest activation; no bound where items see each other."""
        if not self.network.per_sample:
            return sys.maxsize
        return chunk_size(self._here(self.network, torch.Generator()), self.card.shape)

    def network_of(self, rng: Streams) -> Network:
        """The network, whose dropout and the like draw from ``rng`` instead of the run's streams."""
        return seeded(self.network, rng["network"])

    def fresh(self, rng: Streams | None = None) -> Draw:
        """The network at newly drawn parameters, from the run's streams or from others."""
        return self._here(self.network if rng is None else self.network_of(rng), (rng or self.rng)["nets"])

    def _here(self, network: Network, generator: torch.Generator) -> Draw:
        """``network`` at parameters drawn from ``generator``, on the run's device."""
        params, buffers = network.init(generator)
        return Draw(network, all_sent(params, self.device), all_sent(buffers, self.device))
