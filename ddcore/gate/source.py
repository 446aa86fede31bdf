"""T as a gate holds it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.cuda import mem_get_info

from ddcore.chunking import chunk_size
from ddcore.device import sent
from ddcore.errors import RecipeRefused
from ddcore.gate.guard import MOST, Guard, detached, sealed
from ddcore.gate.view import View
from ddcore.losses import LossName
from ddcore.ranks import ALONE, Ranks, ranks
from ddcore.rng import Streams
from ddcore.store import Store, inputs_on
from ddcore.types import Batch, Draw, Group, Transform


class Source:
    """T as a gate holds it: under the recipe's views, sorted by the classes that they give.

    With ``guards`` the views are built without the items, and a :class:`Guard` checks what changes items.
    """

    def __init__(
        self, store: Store, views: Sequence[View], rng: Streams, device: torch.device, guards: bool = False
    ) -> None:
        self.plans = tuple(views)
        self.views = [view.build(sealed(store) if guards else store, rng) for view in views]
        """Live, in the order in which they are applied."""
        targets = store.targets
        for view in self.views:
            targets = view.relabel(targets)
        held = store if torch.equal(targets, store.targets) else store.relabelled(targets)
        for c, (before, after) in enumerate(zip(store.counts, held.counts, strict=True)):
            if before and not after:
                raise RecipeRefused(
                    f"What the recipe's views relabel leaves class {c} without an item: leave some of them as they are."
                )
        self.store = held.to(device) if _fits(held, device) else held
        self.device = device
        self.guard = Guard(rng) if guards else None
        self.preprocess: Transform = lambda x: x
        """Applied to whatever leaves the gate; set by the run once it is fitted."""
        self._chunk: dict[tuple[int, int | None], int] = {}

    @property
    def loss(self) -> LossName:
        """What networks learn T's targets by."""
        return self.store.loss

    def chunk(self, draw: Draw, shape: tuple[int, ...], max_bytes: int | None = None) -> int:
        """Items of ``shape`` whose largest activation fits ``max_bytes``, or what suits the device; no bound where
        items see each other."""
        if not draw.network.per_sample:
            return sys.maxsize
        key = id(draw.network), max_bytes
        if key not in self._chunk:
            self._chunk[key] = chunk_size(draw, shape, max_bytes)
        return self._chunk[key]

    def ranks(self, draw: Draw | None) -> Ranks:
        """The processes among which the items of a request at ``draw`` are divided; None for one about the items alone.

        Each computes all of them, and there is nothing to add up, where items see each other or draw random numbers one
        after another: in the network, or without one in the views.
        """
        if draw is None:
            return ALONE if self.views else ranks()
        return ranks() if draw.network.per_sample and not draw.network.stochastic else ALONE

    def asked(self, draw: Draw) -> tuple[Draw, Ranks]:
        """``draw`` as the first of the processes has it that share the work of a request, and those.

        Networks that each has trained by itself come apart where a GPU adds in no fixed order.
        """
        together = self.ranks(draw)
        if together.count > 1:
            draw = replace(draw, params=together.of_first(draw.params))
        return draw, together

    def follow(self, draw: Draw) -> None:
        """Show the views the network of a step."""
        for live in self.views:
            live.follow(self._shown(draw))

    def take(self, rows: Tensor, draw: Draw | None, group: Group) -> Batch:
        """The items at ``rows`` (n,) under the views, preprocessed, and under the augmentation of ``group``."""
        batch = self.raw(self.store.take(rows), draw)
        batch = Batch(self.preprocess(batch.inputs), batch.targets, batch.index)
        if self.guard is not None:
            self.guard.group(batch, group)
        inputs, targets = group.seen(batch.inputs), batch.targets
        if group.mixing is not None:
            inputs, targets = group.mixing(inputs, targets)
        return Batch(inputs, targets, batch.index)

    def raw(self, batch: Batch, draw: Draw | None) -> Batch:
        """``batch`` under the views, not preprocessed."""
        shown = self._shown(draw) if self.views and draw is not None else None
        with torch.enable_grad():
            if self.guard is not None:
                names = [plan.part_name() for plan in self.plans]
                self.guard.views(list(zip(names, self.views, strict=True)), shown, self._spread)
            batch = self._here(batch)
            for live in self.views:
                batch = detached(live.apply(batch, shown))
        return batch

    def _here(self, batch: Batch) -> Batch:
        return Batch(inputs_on(batch.inputs, self.device), sent(batch.targets, self.device), batch.index)

    def _spread(self) -> Batch:
        """Raw items from all over T, as few as a check wants."""
        rows = torch.linspace(0, len(self.store) - 1, min(MOST, len(self.store))).long()
        return self._here(self.store.take(rows))

    def _shown(self, draw: Draw) -> Draw:
        """``draw`` for views: it takes raw inputs, and what they do with it leaves it as it was."""
        params = {name: value.detach() for name, value in draw.params.items()}
        buffers = {name: value.clone() for name, value in draw.buffers.items()}
        return replace(draw, params=params, buffers=buffers, before=self.preprocess)


def _fits(store: Store, device: torch.device) -> bool:
    """Whether the items as they came take at most a quarter of a GPU's free memory."""
    return device.type == "cuda" and isinstance(store.inputs, Tensor) and 4 * store.nbytes < mem_get_info(device)[0]
