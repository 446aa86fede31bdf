"""Evaluation: fresh networks are trained on a set and measured."""

from ddcore.evaluation.measures import Accuracy
from ddcore.evaluation.protocol import Protocol

PARTS = (
    Accuracy,
    Protocol,
)
