"""Objectives: how far S is from T, and the gradient of that."""

from ddcore.objectives.bptt import Bptt
from ddcore.objectives.combine import Sum
from ddcore.objectives.contrast import Contrast
from ddcore.objectives.features import CharacteristicMatch, CovarianceMatch, FeatureMatch
from ddcore.objectives.gradient import GradientMatch
from ddcore.objectives.layers import LayerMatch
from ddcore.objectives.recognised import Recognised
from ddcore.objectives.ridge import KernelRidge, TangentRidge
from ddcore.objectives.statistics import ConvolutionMatch, StatisticMatch
from ddcore.objectives.trajectory import TrajectoryMatch

PARTS = (
    Bptt,
    CharacteristicMatch,
    Contrast,
    ConvolutionMatch,
    CovarianceMatch,
    FeatureMatch,
    GradientMatch,
    KernelRidge,
    LayerMatch,
    Recognised,
    StatisticMatch,
    Sum,
    TangentRidge,
    TrajectoryMatch,
)
