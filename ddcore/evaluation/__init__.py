"""Evaluation: fresh networks are trained on a set and measured."""

from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.balanced import Auc, BalancedAccuracy
from ddcore.evaluation.bars import Coverage, ErrorBar, RootError
from ddcore.evaluation.calibration import CalibrationError
from ddcore.evaluation.committee import Committee
from ddcore.evaluation.estimators import Boosting, Linear
from ddcore.evaluation.explained import RSquared
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.protocols import PRESETS

PARTS = (
    Accuracy,
    Auc,
    BalancedAccuracy,
    Boosting,
    CalibrationError,
    Committee,
    Coverage,
    ErrorBar,
    Linear,
    Protocol,
    RSquared,
    RootError,
    *PRESETS,
)
