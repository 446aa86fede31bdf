"""A memory of distilled images: each experience is condensed by a recipe of the core when it is over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_replay.memory import Bounded, KeptBounded, item_bytes, shared
from ddcore_replay.stream import Stream, joined, present, taken

OnResize = Literal["truncate", "recondense"]
"""What becomes of images when their classes get less room: the last are dropped, or all are condensed anew."""


@dataclass(frozen=True)
class Distilled(Bounded):
    """The classes of each experience, distilled to as many images each as there is room for.

    What the recipe's carrier stores, images or what they are made of, is stored at one byte per value, spread over its
    own range; so an image takes what a real one takes, and ``dd.RANGE_BYTES`` per experience come on top. A class that
    comes again is condensed anew with what is stored of it.
    """

    method: str = "dm"
    """The method that distils."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of its recipe, by dotted path."""
    classes: dd.Count | None = None
    """Classes that share the budget from the start; None to share it among those so far, so that images are given up as
    classes come."""
    on_resize: OnResize = "truncate"
    """What becomes of images when their classes get less room: ``truncate`` drops the last ones, ``recondense``
    condenses all anew."""

    @property
    def label(self) -> str:
        return self.method

    def recipe(self, host: dd.Host) -> Callable[[int], dd.Recipe]:
        """The recipe for a number of images per class."""
        return lambda ipc: host.recipe(self.method, ipc=ipc, overrides=dd.dotted(self.overrides))

    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptDistilled:
        return KeptDistilled(self, card, self.recipe(host), seed, device, host)

    def check_stream(self, stream: Stream, host: dd.Host) -> None:
        kept, classes = self.build(stream.card, 0, "cpu", host), 0
        for experience in stream.experiences:
            classes += len(experience.classes)
            kept.check(experience.train, classes)


@dataclass(frozen=True)
class Condensed:
    """What came of one condensing, as it comes back out of what is stored."""

    store: dd.Store
    vectors: Tensor | None
    """Learned labels (n, k) over the stream's classes, a class as one-hot; None where they are classes."""
    nbytes: int
    item: int | None
    """Bytes that are saved with each item that goes; None where items are made of shared parts."""

    def at(self, rows: Tensor) -> Condensed:
        """The items at ``rows`` (n,), in order."""
        assert self.item is not None
        vectors = None if self.vectors is None else self.vectors[rows]
        return Condensed(
            taken(self.store, rows), vectors, self.nbytes - self.item * (len(self.store) - len(rows)), self.item
        )


class KeptDistilled(KeptBounded):
    """``recipe`` makes the recipe for a number of images per class; ``soft``: labels that are not classes are
    served."""

    def __init__(
        self,
        plan: Distilled,
        card: dd.DataCard,
        recipe: Callable[[int], dd.Recipe],
        seed: int,
        device: str,
        host: dd.Host,
        soft: bool = False,
    ) -> None:
        super().__init__(card)
        self.plan, self.recipe, self.seed, self.device, self.host, self.soft = plan, recipe, seed, device, host, soft
        self.images = plan.images(card)
        self.sets: list[Condensed] = []
        self.room = 0
        self._passed: Counter[int] = Counter()
        self._runs = 0
        if plan.classes is not None:
            self._shared(plan.classes)

    @property
    def nbytes(self) -> int:
        return sum(kept.nbytes for kept in self.sets)

    @property
    def vectors(self) -> Tensor:
        """The labels (n, k) of ``store``, one-hot where they are classes."""
        k = self.card.classes
        said = [torch.eye(k)[s.store.targets] if s.vectors is None else s.vectors for s in self.sets]
        return torch.cat([F.pad(rows, (0, k - rows.shape[1])) for rows in said])[self.store.order]

    def check(self, store: dd.Store, classes: int) -> None:
        """Refuse an experience of ``store``, with which ``classes`` have come, that could not be condensed.

        Raises:
            RecipeRefused: as :meth:`learn` would. Where classes have fewer items than there is room for, other ways
                are left, so that it cannot be told.
        """
        self._foresee(classes)
        ipc = self._shared(self.plan.classes or classes)
        recipe, new = self._recipe(ipc), present(store)
        if all(store.counts[c] >= ipc for c in new):
            card = dd.RealData.alone(self.card, store, new).card
            with _as_share(recipe, ipc, new):
                recipe.fitted(card).check(card, self.host.catalogue)

    def learn(self, store: dd.Store) -> None:
        """Condense the items of an experience; the others make room.

        Where classes come again, the images that were condensed with them before are condensed anew together with the
        new items: they count as data, each as often as there were items of its class for one of its images.

        Raises:
            RecipeRefused: there is no room for an image of each class, or the recipe's labels are not classes.
        """
        new = present(store)
        classes = set(new) | set(present(self.store))
        if not new:
            raise dd.RecipeRefused("The experience has no items: there is nothing to condense.")
        self._foresee(len(classes))
        self.resize(self.images, len(classes))
        again = [kept for kept in self.sets if set(new) & set(present(kept.store))]
        others = [kept for kept in self.sets if not set(new) & set(present(kept.store))]
        condensed = self._condensed(joined([*map(self._as_data, again), store]), self.room)
        left = None if self.plan.nbytes is None else self.plan.nbytes - sum(kept.nbytes for kept in others)
        taking = sum(one.nbytes for one in condensed)
        if left is not None and taking > left:
            raise dd.RecipeRefused(
                f"What {self.recipe(self.room).name} makes of {self.room} images per class takes {taking} bytes, and"
                f" {left} of the budget are left: raise nbytes."
            )
        self._passed.update(store.targets.tolist())
        self._hold([*others, *condensed])

    def resize(self, images: int, classes: int | None = None) -> None:
        """Have room for ``images``, which ``classes`` share (None: those so far)."""
        self.images = images
        classes = self.plan.classes or classes or len(present(self.store))
        before, self.room = self.room, self._shared(classes) if classes else 0
        if self.sets and self.room < before:
            self._hold([one for kept in self.sets for one in self._shrunk(kept)])

    def _shared(self, classes: int) -> int:
        images = self.images
        if self.plan.nbytes is not None:
            images = min(images, max(0, self.plan.nbytes - classes * dd.RANGE_BYTES) // item_bytes(self.card))
        return shared(images, classes)

    def _foresee(self, classes: int) -> None:
        if self.plan.classes is not None and classes > self.plan.classes:
            raise dd.RecipeRefused(
                f"{classes} classes have come, and the memory was made for {self.plan.classes}: raise its classes."
            )

    def _recipe(self, ipc: int) -> dd.Recipe:
        """The recipe for ``ipc`` images per class. Raises RecipeRefused where its labels cannot be served."""
        recipe = self.recipe(ipc)
        if not self.soft and not isinstance(recipe.labels, dd.Hard):
            raise dd.RecipeRefused(
                f"{recipe.name} learns labels that are not classes, and a memory stands beside items whose labels are:"
                " take a method with hard labels, or in Avalanche a benchmark of ddcore_replay.avalanche.OneHot or"
                " with_soft data."
            )
        return recipe

    def _hold(self, sets: list[Condensed]) -> None:
        self.sets, self.store = sets, joined([kept.store for kept in sets])

    def _as_data(self, kept: Condensed) -> dd.Store:
        targets, counts = kept.store.targets, kept.store.counts
        each = [max(1, self._passed[c] // counts[c]) for c in targets.tolist()]
        return taken(kept.store, torch.arange(len(targets)).repeat_interleave(torch.tensor(each)))

    def _shrunk(self, kept: Condensed) -> list[Condensed]:
        if self.plan.on_resize == "recondense":
            return self._condensed(kept.store, self.room)
        if kept.item is None:
            raise dd.RecipeRefused(
                "The images of this recipe are made of shared parts, so none can be dropped: foresee the number of"
                " classes, or take on_resize = recondense."
            )
        targets = kept.store.targets
        return [kept.at(torch.cat([(targets == c).nonzero().flatten()[: self.room] for c in present(kept.store)]))]

    def _condensed(self, store: dd.Store, ipc: int) -> list[Condensed]:
        """``ipc`` images of each class, or its own items where it has fewer."""
        few = [c for c in present(store) if store.counts[c] < ipc]
        many = [c for c in present(store) if store.counts[c] >= ipc]
        if not few:
            return [self._made(store, many, ipc)]
        try:
            return [self._as_they_are(store, few), *([self._made(store, many, ipc)] if many else [])]
        except dd.RecipeRefused:  # what classes share may take more than so few of them have room for
            each = torch.tensor([max(1, -(-ipc // store.counts[c])) for c in store.targets.tolist()])
            return [
                self._made(taken(store, torch.arange(len(store)).repeat_interleave(each)), sorted([*few, *many]), ipc)
            ]

    def _as_they_are(self, store: dd.Store, classes: list[int]) -> Condensed:
        kept = taken(store, torch.isin(store.targets, torch.tensor(classes)).nonzero().flatten())
        inputs, item = cast(Tensor, kept.inputs), item_bytes(self.card)
        if spread := inputs.dtype != torch.uint8:
            inputs = in_bytes(inputs)
        stored = dd.Store.of(inputs, kept.targets, self.card.classes)
        return Condensed(stored, None, item * len(stored) + dd.RANGE_BYTES * spread, item)

    def _made(self, store: dd.Store, classes: list[int], ipc: int) -> Condensed:
        """What the recipe makes of ``classes``, each of which has ``ipc`` items or more."""
        recipe = self._recipe(ipc)
        data = dd.RealData.alone(self.card, store, classes)
        # each experience draws its own numbers
        recipe = replace(recipe, seed=1000 * self.seed + self._runs)
        self._runs += 1
        with _as_share(recipe, ipc, classes):
            run = self.host.start(recipe, data, device=self.device)
        run.hooks.ddcore_distill(run=run)
        averaged = run.averaged
        synthetic = run.synthetic if averaged is None else cast(dd.SyntheticSet, averaged.module)
        carrier, labels = synthetic.carrier, synthetic.labels
        numbers = [value for value in carrier.state_dict().values() if value.is_floating_point()]
        size = carrier.nbytes()
        if 4 * sum(value.numel() for value in numbers) == size:
            for value in numbers:
                value.copy_(in_bytes(value))
            size = size // 4 + dd.RANGE_BYTES * len(numbers)
        distilled = run.export()
        assert run.preprocess is not None
        targets = torch.tensor(classes)[carrier.classes.cpu()]
        made = dd.Store.of(run.preprocess.inverse(distilled.inputs), targets, self.card.classes)
        vectors, label = None, item_bytes(self.card) - math.prod(self.card.shape)
        labelling = label * len(carrier.origin.unique())
        if distilled.targets.ndim == 2:
            local = in_bytes(shares(labels, distilled.targets))
            vectors = torch.zeros(len(made), self.card.classes)
            vectors[:, classes] = local[made.order]
            # those that follow from the class are stored as it
            if labels.nbytes() > labelling:
                label, labelling = len(classes), local.numel() + dd.RANGE_BYTES
        item = None if carrier.latent() else math.prod(self.card.shape) + label
        return Condensed(made, vectors, size + labelling, item)


@contextmanager
def _as_share(recipe: dd.Recipe, ipc: int, classes: list[int]) -> Iterator[None]:
    """A refusal of ``recipe`` says where its number of images comes from."""
    try:
        yield
    except dd.RecipeRefused as error:
        raise dd.RecipeRefused(
            f"{recipe.name} cannot make {ipc} images of each of the classes {', '.join(map(str, classes))},"
            f" their share of the memory: {error}"
        ) from error


def shares(labels: dd.LabelModule, targets: Tensor) -> Tensor:
    """``targets`` (n, k) in units in which these labels have a class as one-hot."""
    k = targets.shape[1]
    if k == 1:
        return torch.ones_like(targets)
    one, other, *_ = labels.encoded(torch.zeros(1, dtype=torch.long), k)[0].tolist()
    return (targets - other) / (one - other)


def in_bytes(values: Tensor) -> Tensor:
    """``values`` as they come back from a byte each."""
    return dd.Levels.of(values, 8).values()
