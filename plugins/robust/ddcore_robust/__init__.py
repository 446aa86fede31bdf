"""Adversarial robustness: attacks, a view, methods, measures and a study."""

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Fgsm, Pgd, Victim
from ddcore_robust.balls import L2, Ball, Linf
from ddcore_robust.curvature import Curvature
from ddcore_robust.measures import RobustAccuracy, TransferAccuracy
from ddcore_robust.recipes import adv_dm, adv_kip, guard, robust_ridge, tri_level
from ddcore_robust.training import Against
from ddcore_robust.view import Attacked

__all__ = [
    "L2",
    "Against",
    "Attack",
    "Attacked",
    "Ball",
    "Curvature",
    "Fgsm",
    "Linf",
    "Pgd",
    "RobustAccuracy",
    "TransferAccuracy",
    "Victim",
    "adv_dm",
    "adv_kip",
    "guard",
    "robust_ridge",
    "tri_level",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    parts = [Linf, L2, Fgsm, Pgd, Attacked, Curvature, RobustAccuracy, TransferAccuracy]
    return [*parts, adv_dm, adv_kip, guard, robust_ridge, tri_level]
