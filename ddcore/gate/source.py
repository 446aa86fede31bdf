"""T as a gate holds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddcore.chunking import CHUNK_BYTES, chunk_size
from ddcore.gate.view import View
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.types import Batch, Draw, Group


class Source:
    """T as a gate holds it: under the recipe's views, sorted by the classes that they give."""

    def __init__(self, store: Store, views: Sequence[View], rng: Streams, device: torch.device) -> None:
        self.views = [view.build(store, rng) for view in views]
        targets = store.targets
        for view in self.views:
            targets = view.relabel(targets)
        self.store = store if torch.equal(targets, store.targets) else store.relabelled(targets)
        self.device = device
        self.preprocess: Callable[[Tensor], Tensor] = lambda x: x
        """Applied to whatever leaves the gate; set by the run once it is fitted."""
        self._chunk: dict[tuple[int, int], int] = {}

    def chunk(self, draw: Draw, shape: tuple[int, ...], max_bytes: int = CHUNK_BYTES) -> int:
        """Items of ``shape`` whose largest activation fits ``max_bytes``; no bound where items see each other."""
        if not draw.network.per_sample:
            return sys.maxsize
        key = id(draw.network), max_bytes
        if key not in self._chunk:
            self._chunk[key] = chunk_size(draw, shape, max_bytes)
        return self._chunk[key]

    def take(self, rows: Tensor, draw: Draw | None, group: Group) -> Batch:
        """The items at ``rows`` (n,) under the views, preprocessed, and under the augmentation of ``group``."""
        batch = self.raw(self.store.take(rows), draw)
        inputs, targets = group.seen(self.preprocess(batch.inputs)), batch.targets
        if group.mixing is not None:
            inputs, targets = group.mixing(inputs, targets)
        return Batch(inputs, targets, batch.index)

    def raw(self, batch: Batch, draw: Draw | None) -> Batch:
        """``batch`` under the views, not preprocessed."""
        batch = Batch(batch.inputs.to(self.device), batch.targets.to(self.device), batch.index)
        for live in self.views:
            batch = live.apply(batch, draw)
        return batch
