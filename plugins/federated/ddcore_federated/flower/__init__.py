"""Distilled sets in a Flower program; importing this imports Flower, whose telemetry stays off unless asked for."""

from ddcore_federated.environment import ENVIRONMENT
from ddcore_federated.flower.client import distilling_client, training_client
from ddcore_federated.flower.engine import InProcess, Metered, simulate
from ddcore_federated.flower.records import arrays_of, params_of
from ddcore_federated.flower.rounds import central, go, told_so_far
from ddcore_federated.flower.strategy import SyntheticUnion, averaging
from ddcore_federated.flower.wrapped import Refined, Sampled

__all__ = [
    "ENVIRONMENT",
    "InProcess",
    "Metered",
    "Refined",
    "Sampled",
    "SyntheticUnion",
    "arrays_of",
    "averaging",
    "central",
    "distilling_client",
    "go",
    "params_of",
    "simulate",
    "told_so_far",
    "training_client",
]
