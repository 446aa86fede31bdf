"""Federated learning: clients that send distilled sets in place of weights."""

import ddcore
from ddcore_federated.around import Around, around, read_weights, write_weights
from ddcore_federated.server import ReplayEach, Server, TrainOnUnion
from ddcore_federated.shards import Shards
from ddcore_federated.shared import Shared, union
from ddcore_federated.split import ByClasses, Dirichlet, Iid, Split, histogram, shard
from ddcore_federated.study import Averaging, Distilling, Exchange, Federated

__all__ = [
    "Around",
    "Averaging",
    "ByClasses",
    "Dirichlet",
    "Distilling",
    "Exchange",
    "Federated",
    "Iid",
    "ReplayEach",
    "Server",
    "Shards",
    "Shared",
    "Split",
    "TrainOnUnion",
    "around",
    "histogram",
    "read_weights",
    "shard",
    "union",
    "write_weights",
]

ddcore_api = ">=1.0,<2"


@ddcore.hookimpl
def ddcore_parts():
    return [Dirichlet, ByClasses, Iid, Around, TrainOnUnion, ReplayEach, Federated, Distilling, Averaging]
