"""Which classes and items of S are taken together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddcore.context import Context
from ddcore.losses import cross_entropy, squared
from ddcore.synthetic import LabelModule, SyntheticSet
from ddcore.types import ItemLoss


def class_batches(
    synthetic: SyntheticSet, classes: Sequence[int], ctx: Context, most: int | None = None
) -> Iterator[list[int]]:
    """The classes in batches whose items of S, at most ``most`` of each, fit one chunk of memory, at least one class in
    each."""
    lot: list[int] = []
    held = 0
    for c in classes:
        taken = min(synthetic.count(c), most or sys.maxsize)
        if lot and held + taken > ctx.room:
            yield lot
            lot, held = [], 0
        lot.append(c)
        held += taken
    if lot:
        yield lot


def loss_on_real(labels: LabelModule, k: int) -> ItemLoss:
    """The loss on T's classes that goes with what S's labels train networks by."""
    if labels.loss_name == "cross_entropy":
        return cross_entropy
    return lambda outputs, classes: squared(outputs, labels.encoded(classes, k).to(outputs))


def interleave_classes(classes: Tensor) -> Tensor:
    """An order (n,) of items with ``classes`` (n,): one of each class, then the next of each."""
    rank = torch.zeros_like(classes)
    for c in classes.unique():
        mine = classes == c
        rank[mine] = torch.arange(int(mine.sum()), device=classes.device)
    return rank.argsort(stable=True)
