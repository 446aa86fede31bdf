"""Backdoor studies: what a malicious distiller could do to a small set, and which checks find it."""

from ddcore import plugin as dd
from ddcore_backdoor.defences import Defences
from ddcore_backdoor.learning import Doorping, Learning, Relaxed
from ddcore_backdoor.manifest import Provenance, faults, remade
from ddcore_backdoor.measures import AttackSuccess
from ddcore_backdoor.nets import Reconstruction, Strip
from ddcore_backdoor.poison import Poison, Poisoning, poisonings
from ddcore_backdoor.repairs import FineTuning, Pruning
from ddcore_backdoor.sets import ActivationClustering, SpectralSignatures
from ddcore_backdoor.study import Backdoor
from ddcore_backdoor.suspect import Defence, Suspect, Verdict
from ddcore_backdoor.toolbox import Toolbox
from ddcore_backdoor.triggers import Blended, Invisible, Patch, Trigger, Warped

__all__ = [
    "ActivationClustering",
    "AttackSuccess",
    "Backdoor",
    "Blended",
    "Defence",
    "Defences",
    "Doorping",
    "FineTuning",
    "Invisible",
    "Learning",
    "Patch",
    "Poison",
    "Poisoning",
    "Provenance",
    "Pruning",
    "Reconstruction",
    "Relaxed",
    "SpectralSignatures",
    "Strip",
    "Suspect",
    "Toolbox",
    "Trigger",
    "Verdict",
    "Warped",
    "faults",
    "poisonings",
    "remade",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    triggers = [Patch, Blended, Invisible, Warped]
    defences = [ActivationClustering, SpectralSignatures, Strip, Reconstruction, FineTuning, Pruning, Toolbox]
    return [Poison, Poisoning, *triggers, Doorping, Relaxed, AttackSuccess, Backdoor, Defences, Provenance, *defences]
