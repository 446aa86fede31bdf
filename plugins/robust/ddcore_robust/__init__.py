"""Adversarial robustness: attacks, a view, methods, measures and a study."""

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Fgsm, Pgd, Unmoved, Victim
from ddcore_robust.autoattack import AutoAttack
from ddcore_robust.balls import L2, Ball, Linf
from ddcore_robust.curvature import Curvature
from ddcore_robust.measures import RobustAccuracy, TransferAccuracy
from ddcore_robust.recipes import adv_dm, adv_kip, guard, robust_ridge, tri_level
from ddcore_robust.sanity import Battery, attack_efficiency, robustness_ratio
from ddcore_robust.study import Robustness
from ddcore_robust.training import Against
from ddcore_robust.view import Attacked

__all__ = [
    "L2",
    "Against",
    "Attack",
    "Attacked",
    "AutoAttack",
    "Ball",
    "Battery",
    "Curvature",
    "Fgsm",
    "Linf",
    "Pgd",
    "RobustAccuracy",
    "Robustness",
    "TransferAccuracy",
    "Unmoved",
    "Victim",
    "adv_dm",
    "adv_kip",
    "attack_efficiency",
    "guard",
    "robust_ridge",
    "robustness_ratio",
    "tri_level",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    parts = [Linf, L2, Unmoved, Fgsm, Pgd, AutoAttack, Attacked, Curvature, RobustAccuracy, TransferAccuracy]
    return [*parts, Robustness, adv_dm, adv_kip, guard, robust_ridge, tri_level]
