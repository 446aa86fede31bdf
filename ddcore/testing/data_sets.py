"""What a data set is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ddcore.datasets.base import DataSet
from ddcore.host import Host
from ddcore.store import plain
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part


@Check
def check_data_set(part: DataSet, *, host: Host | None = None) -> Iterator[str]:
    """It keeps the contract of parts; it loads, the same each time, items of the kind that it says before it is loaded,
    with an item of each class in every split, all finite, and says how they were read."""
    name, host = part.part_name(), host or Host()
    yield from check_part.faults(part, host.catalogue)
    data, again = part.load(), part.load()
    yield from (f"{name}: {fault}." for fault in data.card.faults())
    if data.card.kind != part.item_kind():
        yield (
            f"{name} loads items of the kind {data.card.kind} and says {part.item_kind()!r} before: let item_kind()"
            f" answer {data.card.kind!r}, by which methods choose their defaults."
        )
    host.kind(data.card.kind)
    if data.card != again.card or data.train.content != again.train.content or data.test.content != again.test.content:
        yield f"{name} is other data when it is loaded again: draw splits and items by a seed of its own."
    if data.train.content == data.test.content:
        yield f"{name} tests on what it trains on: set items aside, or give RealData.of no test split, which does that."
    for split, store in (("train", data.train), ("test", data.test)):
        if empty := [c for c, n in enumerate(store.counts) if not n]:
            yield f"{name}: class {data.card.called(empty[0])} has no item in {split}."
        items = plain(store.take(torch.arange(min(64, len(store)))).inputs)
        if not bool(items.isfinite().all()):
            yield f"{name}: {split} items are not finite: repair or drop them."
    if not data.notes:
        yield f"{name} does not say how its items were read: make it by dd.RealData.of, or give notes=."
