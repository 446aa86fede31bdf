"""A memory of distilled images: each experience is condensed by a recipe of the core when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

import ddcore
from ddcore_replay.memory import Bounded, Kept, item_bytes
from ddcore_replay.stream import joined, present, renumbered, taken

OnResize = Literal["truncate", "recondense"]
"""What becomes of images when their classes get less room: the last are dropped, or all are condensed anew."""

RANGE_BYTES = 8
"""Bytes of the range that a tensor's values are spread over: two float32."""


@dataclass(frozen=True)
class Distilled(Bounded):
    """The classes of each experience, distilled by ``method`` to as many images each as there is room for.

    What the recipe's carrier stores, images or what they are made of, is stored at a byte a value, spread over its
    own range; so an image takes what a real one takes, and ``RANGE_BYTES`` an experience come on top.

    ``classes`` that are foreseen share the budget from the start; with None the classes so far share it, and images
    go as classes come: see :data:`OnResize`. ``overrides`` sets fields of the recipe by dotted path.
    """

    method: str = "dm"
    overrides: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None
    on_resize: OnResize = "truncate"

    @property
    def label(self) -> str:
        return self.method

    def build(self, card: ddcore.DataCard, seed: int, device: str, host: ddcore.Host) -> KeptDistilled:
        def recipe(ipc: int) -> ddcore.Recipe:
            return host.recipe(self.method, ipc=ipc, overrides=ddcore.dotted(self.overrides))

        return KeptDistilled(self, card, recipe, seed, device, host)


class KeptDistilled(Kept):
    """``recipe`` makes the recipe for a number of images a class."""

    def __init__(
        self,
        plan: Distilled,
        card: ddcore.DataCard,
        recipe: Callable[[int], ddcore.Recipe],
        seed: int,
        device: str,
        host: ddcore.Host,
    ) -> None:
        super().__init__(card)
        self.plan, self.recipe, self.seed, self.device, self.host = plan, recipe, seed, device, host
        self.images = plan.images(card)
        self.sets: list[ddcore.Store] = []
        self.sizes: list[int] = []
        self.room = 0
        self._runs = 0
        if plan.classes is not None:
            self._shared(plan.classes)

    @property
    def nbytes(self) -> int:
        return sum(self.sizes)

    def learn(self, store: ddcore.Store) -> None:
        """Condense the items of an experience; the others make room.

        Raises:
            RecipeRefused: there is no room for an image of each class, a class comes again, or the recipe's labels are
                not classes.
        """
        new, seen = present(store), present(self.store)
        if not new:
            raise ddcore.RecipeRefused("The experience has no items: there is nothing to condense.")
        if again := sorted(set(new) & set(seen)):
            raise ddcore.RecipeRefused(
                f"Class {again[0]} comes again in a later experience. A distilled memory is condensed once for each"
                " class: take a stream in which each class comes once."
            )
        if self.plan.classes is not None and len(new) + len(seen) > self.plan.classes:
            raise ddcore.RecipeRefused(
                f"{len(new) + len(seen)} classes have come, and the memory was told of {self.plan.classes}: raise its"
                " number of classes."
            )
        self.resize(self.images, len(seen) + len(new))
        condensed, size = self._condensed(store, self.room)
        if self.plan.nbytes is not None and self.nbytes + size > self.plan.nbytes:
            raise ddcore.RecipeRefused(
                f"What {self.recipe(self.room).name} makes of {self.room} images a class takes {size} bytes, and"
                f" {self.plan.nbytes - self.nbytes} of the budget are left: raise nbytes."
            )
        self.sets.append(condensed)
        self.sizes.append(size)
        self._changed()

    def resize(self, images: int, classes: int | None = None) -> None:
        """Have room for ``images``, which ``classes`` share (None: those so far)."""
        self.images = images
        classes = self.plan.classes or classes or len(present(self.store))
        before, self.room = self.room, self._shared(classes) if classes else 0
        if self.sets and self.room < before:
            shrink = self._truncated if self.plan.on_resize == "truncate" else self._recondensed
            fewer = [shrink(kept, size) for kept, size in zip(self.sets, self.sizes, strict=True)]
            self.sets, self.sizes = [kept for kept, _ in fewer], [size for _, size in fewer]
            self._changed()

    def _shared(self, classes: int) -> int:
        share = self.images
        if self.plan.nbytes is not None:
            share = max(0, self.plan.nbytes - classes * RANGE_BYTES) // item_bytes(self.card)
        if share < classes:
            raise ddcore.RecipeRefused(
                f"A memory of {share} images cannot hold one of each of {classes} classes: make it larger."
            )
        return share // classes

    def _changed(self) -> None:
        self.store = joined(self.sets)

    def _truncated(self, kept: ddcore.Store, size: int) -> tuple[ddcore.Store, int]:
        each = max(kept.counts)
        if size != len(kept) * item_bytes(self.card) + RANGE_BYTES:
            raise ddcore.RecipeRefused(
                "The images of this recipe are made of shared parts, so none can be dropped: foresee the number of"
                " classes, or take on_resize = recondense."
            )
        rows = torch.cat([(kept.targets == c).nonzero().flatten()[: min(each, self.room)] for c in present(kept)])
        return taken(kept, rows), len(rows) * item_bytes(self.card) + RANGE_BYTES

    def _recondensed(self, kept: ddcore.Store, size: int) -> tuple[ddcore.Store, int]:
        return self._condensed(kept, self.room)

    def _condensed(self, store: ddcore.Store, ipc: int) -> tuple[ddcore.Store, int]:
        """``ipc`` images a class as they come back out of what is stored, and its bytes."""
        recipe = self.recipe(ipc)
        if not isinstance(recipe.labels, ddcore.Hard):
            raise ddcore.RecipeRefused(
                f"{recipe.name} learns labels that are not classes, and a memory stands beside items whose labels are:"
                " take a method with hard labels."
            )
        data, classes = renumbered(self.card, store)
        # each experience draws its own numbers
        recipe = replace(recipe, seed=1000 * self.seed + self._runs)
        self._runs += 1
        run = self.host.start(recipe, data, device=self.device)
        run.hooks.ddcore_distill(run=run)
        synthetic = run.synthetic if run.averaged is None else run.averaged.module
        carrier, size = synthetic.carrier, 0
        numbers = [value for value in carrier.state_dict().values() if value.is_floating_point()]
        counted = carrier.nbytes()
        if 4 * sum(value.numel() for value in numbers) == counted:
            for value in numbers:
                value.copy_(in_bytes(value))
            size = counted // 4 + RANGE_BYTES * len(numbers)
        distilled = run.export()
        assert run.preprocess is not None
        inputs = run.preprocess.inverse(distilled.inputs)
        targets = torch.tensor(classes)[distilled.targets]
        labels = item_bytes(self.card) - inputs[0].numel()
        return ddcore.Store.of(inputs, targets, self.card.classes), (size or counted) + labels * len(inputs)


def in_bytes(values: Tensor) -> Tensor:
    """``values`` as they come back from 256 levels between the least and the largest of them."""
    low, high = values.min(), values.max()
    step = (high - low).clamp_min(1e-12) / 255
    return low + step * ((values - low) / step).round()
