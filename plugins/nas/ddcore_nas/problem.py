"""The data of a search: a part of T to train on, a part to rank on, and the test split."""

from __future__ import annotations

from dataclasses import replace

from ddcore import plugin as dd


def parted(source: dd.DataSet, items: int | None, validation: float) -> dd.RealData:
    """``source`` with T of so many ``items``, drawn class by class, the share ``validation`` of which is set aside."""
    data = dd.loaded(source)
    if items is not None and items < len(data.train):
        part = data.with_validation(items / len(data.train), seed=0).validation
        assert part is not None
        data = replace(data, card=replace(data.card, counts=part.counts), train=part, validation=None)
    return data.with_validation(validation, seed=0)
