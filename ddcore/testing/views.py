"""What a view is held to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy

import torch

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.gate.guard import Guard, sealed
from ddcore.gate.view import View
from ddcore.host import Host
from ddcore.rng import Streams
from ddcore.store import plain
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.trial import data_for, global_numbers, run_faults, trial
from ddcore.types import Batch, Draw


@Check
def check_view(
    part: View, *, recipe: Recipe | None = None, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """It keeps the contract of parts; it leaves what it is handed as it was, gives as many items with classes that
    exist, can be asked item by item where it declares ``itemwise``, draws from the streams it is built with, states
    facts that JSON can hold, takes back its state, and a small run under it goes on bit for bit after a stop.

    It is tried in ``recipe``, by default DM.
    """
    name = part.part_name()
    yield from check_part.faults(part, host.catalogue if host else None)
    host = host or Host()
    data = data or data_for((part,), host)
    found = list(_live_faults(part, data, host, name))
    yield from found or run_faults(trial(part, recipe, data, host), name)


def _live_faults(part: View, data: RealData, host: Host, name: str) -> Iterator[str]:
    store, rng = data.train, Streams(0)
    network = host.kind(data.card.kind).network.ready(data.card)
    draw = Draw(network, *network.init(torch.Generator().manual_seed(0)))
    with global_numbers() as drawn:
        live = part.build(sealed(store) if part.itemwise else store, rng)
        targets = store.targets.clone()
        changed = live.relabel(targets)
        if not torch.equal(targets, store.targets):
            yield f"{name} changes the targets in place: let relabel answer new ones, as torch.where does."
        if changed.shape != targets.shape or changed.dtype != targets.dtype or int(changed.max()) >= store.classes:
            yield f"{name} answers no targets of the data: relabel answers {tuple(targets.shape)} of {targets.dtype}."
            return
        live.follow(draw)
        rows = torch.linspace(0, len(store) - 1, 12).long()
        for network in (draw, None):
            yield from _apply_faults(live.apply, store.take(rows), network, name)
        if drawn():
            yield f'{name} draws from torch\'s global generator: draw from rng["{name}"], the streams it is built with.'
    try:
        json.dumps(live.facts(), allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"{name} states facts that JSON cannot hold: answer numbers, texts, lists and dicts ({error})."
    twin = part.build(sealed(store) if part.itemwise else store, Streams(0))
    twin.relabel(store.targets)
    twin.load_state_dict(deepcopy(live.state_dict()))
    if part.itemwise:
        try:
            for network in (draw, None):
                Guard(rng).views([(name, live)], network, lambda: store.take(rows))
        except RecipeRefused as refused:
            yield str(refused)


def _apply_faults(apply: Callable[..., Batch], batch: Batch, draw: Draw | None, name: str) -> Iterator[str]:
    held, params = plain(batch.inputs).clone(), {k: v.clone() for k, v in draw.params.items()} if draw else {}
    seen = apply(batch, draw)
    if not torch.equal(plain(batch.inputs), held):
        yield f"{name} changes the batch it is handed in place: work on a copy (batch.inputs.clone())."
    if draw and any(not torch.equal(draw.params[key], value) for key, value in params.items()):
        yield f"{name} changes the parameters of the network it is shown: work on copies."
    if plain(seen.inputs).shape != held.shape or len(seen.targets) != len(batch.targets):
        yield (
            f"{name} makes {tuple(plain(seen.inputs).shape)} of {tuple(held.shape)}: answer as many items, of the"
            " same shape, at the same places."
        )
    elif not bool(plain(seen.inputs).isfinite().all()):
        yield f"{name} makes items that are not finite."
    if not torch.equal(seen.index, batch.index):
        yield f"{name} answers items at other places: keep batch.index (dataclasses.replace(batch, inputs=...))."
