"""Shards: which part of a data set each client holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd
from ddcore_federated.split import Split, histogram


@dataclass(frozen=True)
class Shards:
    """The shards of ``data`` under ``split``, drawn from ``seed``; a process loads the data once."""

    data: dd.DataSet
    split: Split
    seed: int = 0

    def __call__(self, partition: int, partitions: int) -> dd.RealData:
        """The shard of client ``partition``: the whole problem's classes, and of its items those in the shard."""
        return dd.loaded(self.data).subset(self.rows(partitions)[partition])

    def rows(self, partitions: int) -> list[Tensor]:
        """The rows of the train split that each client has."""
        return list(_rows(self, partitions))

    def histogram(self, partitions: int) -> Tensor:
        """Items (clients, k) of each class that each client has."""
        data = dd.loaded(self.data)
        return histogram(data.train.targets, self.rows(partitions), data.card.classes)


@cache
def _rows(shards: Shards, partitions: int) -> tuple[Tensor, ...]:
    generator = dd.Streams(shards.seed)["split"]
    return tuple(shards.split.rows(dd.loaded(shards.data).train.targets, partitions, generator))


def public(plan: dd.Preprocess, card: dd.DataCard) -> dd.Fitted:
    """The preprocessing that all clients and the server share.

    Raises:
        RecipeRefused: each client would fit its own.
    """

    def statistics(pixels: bool = False) -> dict[str, Tensor]:
        raise dd.RecipeRefused(
            f"{card.name} declares no public mean and std, and clients that each standardise by their own would not"
            " understand each other. Give preprocess.mean and preprocess.std."
        )

    return plan.fitted(card).start(card, statistics)


def agreed(plan: dd.NetworkPlan, card: dd.DataCard) -> tuple[dd.Network, dd.Params]:
    """The network that clients and server share, and weights of its shape.

    Raises:
        RecipeRefused: it holds more than weights.
    """
    network = plan.ready(card)
    params, buffers = network.init(Generator())
    if buffers:
        raise dd.RecipeRefused(
            "The network keeps running statistics, which are of one client's data. Take a norm of single items"
            ' (network.norm="instance" or "group").'
        )
    return network, params


def seed_for(seed: int, name: str) -> int:
    """The seed of what is done under ``name``."""
    return int(torch.randint(2**62, (), generator=dd.Streams(seed)[name]))
