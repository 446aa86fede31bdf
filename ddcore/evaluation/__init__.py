"""Evaluation: fresh networks are trained on a set and measured."""

from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.calibration import CalibrationError
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.protocols import PRESETS

PARTS = (
    Accuracy,
    CalibrationError,
    Protocol,
    *PRESETS,
)
