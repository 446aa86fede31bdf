"""ddcore: dataset distillation as short compositions, with hooks for plugins."""

from importlib.metadata import version as _version
from os import PathLike
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.augment import Augment
from ddcore.carriers.base import Carrier
from ddcore.data import RealData, Store
from ddcore.datasets import DataSet
from ddcore.distance import Distance
from ddcore.errors import (
    BadArtefact,
    BadCheckpoint,
    BadData,
    DdcoreError,
    LossDiverged,
    PluginBroken,
    RecipeRefused,
    StopRun,
    UnknownName,
)
from ddcore.evaluate import Measure, Protocol, Score, Scores
from ddcore.experiment import Experiment, Folder, Settings, cite, conduct, data_set, evaluate, reevaluate, resume
from ddcore.gate import Context, Fit, Gate, GatePlan, View
from ddcore.host import Host
from ddcore.labels import Labels
from ddcore.marker import HOOK_API, hookimpl
from ddcore.networks.base import NetworkPlan
from ddcore.networks.module import ModuleNetwork
from ddcore.objectives.base import LossObjective, Objective
from ddcore.parts import Part
from ddcore.policies.base import Policy
from ddcore.preprocess import Fitted, Preprocess
from ddcore.recipe import Recipe, Update, method
from ddcore.report import Comparison, compare
from ddcore.run import Run
from ddcore.synthetic import CarrierModule, LabelModule, SyntheticSet
from ddcore.types import Batch, Citation, DataCard, Draw, Group, Network

__version__ = _version("ddcore")


def load(name: str, **fields: Any) -> RealData:
    """The data set of that name (``ddcore list data``), or at that path, with its fields such as ``root``."""
    return data_set(Host().catalogue, name, **fields).load()


def recipe(name: str, **arguments: Any) -> Recipe:
    """The recipe of a method (``ddcore list methods``), or of a recipe file."""
    return Host().recipe(name, **arguments)


def distill(recipe: Recipe, data: RealData, *, seed: int | None = None, device: str = "cpu") -> DistilledSet:
    """Run ``recipe`` on ``data`` from beginning to end, with the plugins that it names."""
    return Host().distill(recipe, data, seed=seed, device=device)


def load_distilled(path: str | PathLike[str]) -> DistilledSet:
    """A distilled set from its file; runs no code of the file's."""
    return DistilledSet.load(path)


__all__ = [
    "HOOK_API",
    "Augment",
    "BadArtefact",
    "BadCheckpoint",
    "BadData",
    "Batch",
    "Carrier",
    "CarrierModule",
    "Citation",
    "Comparison",
    "Context",
    "DataCard",
    "DataSet",
    "DdcoreError",
    "Distance",
    "DistilledSet",
    "Draw",
    "Experiment",
    "Fit",
    "Fitted",
    "Folder",
    "Gate",
    "GatePlan",
    "Group",
    "Host",
    "LabelModule",
    "Labels",
    "LossDiverged",
    "LossObjective",
    "Measure",
    "ModuleNetwork",
    "Network",
    "NetworkPlan",
    "Objective",
    "Part",
    "PluginBroken",
    "Policy",
    "Preprocess",
    "Protocol",
    "RealData",
    "Recipe",
    "RecipeRefused",
    "Run",
    "Score",
    "Scores",
    "Settings",
    "StopRun",
    "Store",
    "SyntheticSet",
    "UnknownName",
    "Update",
    "View",
    "cite",
    "compare",
    "conduct",
    "data_set",
    "distill",
    "evaluate",
    "hookimpl",
    "load",
    "load_distilled",
    "method",
    "recipe",
    "reevaluate",
    "resume",
]
