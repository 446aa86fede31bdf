"""Federated learning: clients that send distilled sets in place of weights.

``ddcore_federated.flower`` holds what stands in a Flower program; all else knows nothing of it.
"""

from ddcore import plugin as dd
from ddcore_federated.around import Around, around, read_weights, write_weights
from ddcore_federated.knowledge import ByLoss, Remembered, remember
from ddcore_federated.masking import Masking
from ddcore_federated.recipes import (
    dosfl,
    dynafed,
    fedd3,
    feddm,
    fedsynth,
    goetz_tewari,
    meta_knowledge,
    usual_server,
)
from ddcore_federated.server import REPLAY, ReplayEach, Server, TrainOnUnion
from ddcore_federated.shards import Shards
from ddcore_federated.shared import Shared, union
from ddcore_federated.split import ByClasses, Dirichlet, Iid, Split, histogram, shard
from ddcore_federated.study import Averaging, Distilling, Exchange, Federated
from ddcore_federated.trajectory import Dynafed, Trajectory, write_trajectory
from ddcore_federated.update import UpdateMatch

__all__ = [
    "REPLAY",
    "Around",
    "Averaging",
    "ByClasses",
    "ByLoss",
    "Dirichlet",
    "Distilling",
    "Dynafed",
    "Exchange",
    "Federated",
    "Iid",
    "Masking",
    "Remembered",
    "ReplayEach",
    "Server",
    "Shards",
    "Shared",
    "Split",
    "TrainOnUnion",
    "Trajectory",
    "UpdateMatch",
    "around",
    "dosfl",
    "dynafed",
    "fedd3",
    "feddm",
    "fedsynth",
    "goetz_tewari",
    "histogram",
    "meta_knowledge",
    "read_weights",
    "remember",
    "shard",
    "union",
    "usual_server",
    "write_trajectory",
    "write_weights",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [
        *(Dirichlet, ByClasses, Iid, Around, Remembered, Masking, UpdateMatch, ByLoss, Trajectory),
        *(TrainOnUnion, ReplayEach, Dynafed, Federated, Distilling, Averaging),
        *(feddm, dosfl, fedd3, fedsynth, goetz_tewari, meta_knowledge, dynafed),
    ]
