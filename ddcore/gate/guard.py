"""What a guarding gate holds those to that change T inside it: each item by itself, and nothing learned of T."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from ddcore.errors import RecipeRefused
from ddcore.gate.view import LiveView
from ddcore.rng import Streams
from ddcore.store import Inputs, Items, Store, plain
from ddcore.types import Batch, Draw, Group

MOST = 16
"""Items by which a declaration is checked."""
NOISE = 0.2
"""Share of items that may differ: rounding can turn the sign of a gradient, and with it an attack on one item."""


class Sealed(Items):
    """Items of which only the shape is told."""

    def __init__(self, inputs: Inputs) -> None:
        self._shape = tuple(inputs.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __getitem__(self, rows: Tensor) -> NoReturn:
        raise RecipeRefused(
            "A view tries to read items of T while it is built, under a gate that bounds what may be learned of them:"
            " what it is made of must not depend on them. Labels, counts and places (store.targets, store.order) are"
            " public; let items be changed in apply."
        )

    at = __getitem__


def sealed(store: Store) -> Store:
    """``store`` whose labels, counts and places can be read, and whose items cannot."""
    return replace(store, inputs=Sealed(store.inputs))


class Guard:
    """Checks whether what was declared ``itemwise`` is so, before its first answer leaves the gate.

    ``rng`` holds the streams that views draw from; they stand after a check where they stood before.
    """

    def __init__(self, rng: Streams) -> None:
        self._rng = rng
        self._passed: set[Any] = set()

    def views(self, views: Sequence[tuple[str, LiveView]], draw: Draw | None, probe: Callable[[], Batch]) -> None:
        """Check the named ``views``, one after another on ``probe`` (n, ...), items of all classes.

        Asked once with a network and once without, for views that do nothing without one.

        Raises:
            RecipeRefused: a view lets an item depend on others, or learns from the items.
        """
        if not views or (draw is None) in self._passed:
            return
        batch, streams = probe(), self._rng.seeded()
        for name, live in views if len(batch) > 1 else ():
            batch = self._view(name, live, batch, draw)
        self._rng.go_back(streams)
        self._passed.add(draw is None)

    def _view(self, name: str, live: LiveView, batch: Batch, draw: Draw | None) -> Batch:
        """What ``live`` makes of ``batch``, once it has been checked."""
        state, streams = deepcopy(live.state_dict()), self._rng.seeded()

        def change(part: Batch) -> Batch:
            self._rng.go_back(streams)
            live.load_state_dict(deepcopy(state))
            return live.apply(part, draw)

        whole = change(batch)
        learns, still = not _same(live.state_dict(), state), _same(self._rng.seeded(), streams)
        mixes = _mixes(change, batch, whole) or (still and _depends_on_place(change, batch, whole))
        live.load_state_dict(state)
        if learns:
            raise RecipeRefused(
                f"The view {name} changes its state when it is applied, so it would carry what items of T say past a"
                " gate that bounds that: let it learn in follow, from networks."
            )
        if mixes:
            raise RecipeRefused(
                f"The view {name} declares that it is itemwise, but what it makes of an item depends on the others in"
                " its batch, so the gate could not bound what it tells of one. Let it change each item by itself, and"
                " draw what is random from the streams it is built with; or drop the declaration, and the gate."
            )
        return detached(whole)

    def group(self, batch: Batch, group: Group) -> None:
        """Check the augmentation of ``group``, each kind on the first ``batch`` that meets it.

        Raises:
            RecipeRefused: it lets an item depend on others, or the group is to be mixed.
        """
        if group.mixing is not None:
            raise RecipeRefused("A request mixes items of T, so the gate could not bound what it tells of one.")
        kind = getattr(group.transform, "__qualname__", type(group.transform))
        if group.transform is None or kind in self._passed or len(batch) < 2:
            return
        batch = batch[torch.arange(min(MOST, len(batch)))]
        if _mixes(lambda part: replace(part, inputs=group.seen(part.inputs)), batch):
            raise RecipeRefused(
                f"The augmentation {group.transform} mixes items, though its plan declares that it is itemwise, so the"
                " gate could not bound what it tells of one. Let it change each item by itself."
            )
        self._passed.add(kind)


def detached(batch: Batch) -> Batch:
    """``batch`` without the graph it was made by."""
    inputs = batch.inputs.detach() if isinstance(batch.inputs, Tensor) else batch.inputs
    return Batch(inputs, batch.targets.detach(), batch.index)


def _mixes(change: Callable[[Batch], Batch], batch: Batch, whole: Batch | None = None) -> bool:
    """Whether an item comes out otherwise where others stand beside it.

    For each binary digit of the places, those of one digit stay while all others become copies of one of them: any two
    items differ in a digit, and the size of the batch, with all that is drawn for it, stays.
    """
    whole = change(batch) if whole is None else whole
    places = torch.arange(len(batch))
    if len(whole) != len(batch):
        return True
    for digit in range((len(batch) - 1).bit_length()):
        for side in (0, 1):
            stay = ((places >> digit) & 1) == side
            part = change(batch[torch.where(stay, places, places[stay][0])])
            if len(part) != len(batch) or _differ(part, whole)[stay].float().mean() > NOISE:
                return True
    return False


def _depends_on_place(change: Callable[[Batch], Batch], batch: Batch, whole: Batch) -> bool:
    """Whether an item alone comes out otherwise than in its batch, for changes that draw nothing."""
    rows = torch.arange(len(batch)).split(1)
    differ = torch.cat([_differ(change(batch[row]), whole[row]) for row in rows])
    return bool(differ.float().mean() > NOISE)


def _differ(a: Batch, b: Batch) -> Tensor:
    """Which items (n,) differ, on the CPU, but for rounding."""
    x, y = plain(a.inputs), plain(b.inputs)
    if x.shape != y.shape or a.targets.shape != b.targets.shape:
        return torch.ones(len(b), dtype=torch.bool)
    inputs = torch.isclose(x, y, rtol=1e-4, atol=1e-5, equal_nan=True).flatten(1).all(1)
    targets = torch.isclose(a.targets, b.targets).flatten(1).all(1) if a.targets.ndim > 1 else a.targets == b.targets
    return ~(inputs & targets).cpu()


def _same(a: Any, b: Any) -> bool:
    """Two plain states hold the same."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and bool(torch.equal(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(value, b[name]) for name, value in a.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
