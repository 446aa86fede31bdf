"""Policies: at which networks S is compared with T."""

from ddcore.policies.early import Early
from ddcore.policies.experts import Experts
from ddcore.policies.fresh import Fresh
from ddcore.policies.perturbed import Perturbed
from ddcore.policies.pool import Pool
from ddcore.policies.queue import Queue
from ddcore.policies.rival import Rival
from ddcore.policies.side_by_side import SideBySide
from ddcore.policies.steady import UntilSteady
from ddcore.policies.teacher import Teacher
from ddcore.policies.trained import TrainedOnReal, TrainedOnSynthetic

PARTS = (
    Early,
    Experts,
    Fresh,
    Perturbed,
    Pool,
    Queue,
    Rival,
    SideBySide,
    Teacher,
    TrainedOnReal,
    TrainedOnSynthetic,
    UntilSteady,
)
