"""Distilled sets in a Flower program; importing this imports Flower, whose telemetry stays off unless asked for."""

import os

for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: Ray listens on loopback alone
}.items():
    os.environ.setdefault(_name, _value)  # read when Flower and Ray are imported

from ddcore_federated.flower.client import distilling_client, training_client
from ddcore_federated.flower.engine import Metered, simulate
from ddcore_federated.flower.strategy import SyntheticUnion, arrays_of, params_of

__all__ = [
    "Metered",
    "SyntheticUnion",
    "arrays_of",
    "distilling_client",
    "params_of",
    "simulate",
    "training_client",
]
