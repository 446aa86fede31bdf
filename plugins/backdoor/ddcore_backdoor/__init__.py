"""Backdoor studies: what a malicious distiller could do to a small set, and which checks find it."""

from ddcore import plugin as dd
from ddcore_backdoor.learning import Doorping, Learning, Relaxed
from ddcore_backdoor.measures import AttackSuccess
from ddcore_backdoor.poison import Poison, Poisoning, poisonings
from ddcore_backdoor.triggers import Blended, Invisible, Patch, Trigger, Warped

__all__ = [
    "AttackSuccess",
    "Blended",
    "Doorping",
    "Invisible",
    "Learning",
    "Patch",
    "Poison",
    "Poisoning",
    "Relaxed",
    "Trigger",
    "Warped",
    "poisonings",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [Poison, Poisoning, Patch, Blended, Invisible, Warped, Doorping, Relaxed, AttackSuccess]
