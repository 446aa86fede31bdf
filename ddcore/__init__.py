"""ddcore: dataset distillation as short compositions, with hooks for plugins."""

from importlib.metadata import version as _version
from os import PathLike
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.augment import Affine, Augment, Crop, Siamese, cropped
from ddcore.bench import Pair, benchmark, digits_as_mnist
from ddcore.carriers.base import Carrier, DecodedModule
from ddcore.carriers.centres import Centres, Reconstruct
from ddcore.carriers.chosen import Herding, Mosaic, Random
from ddcore.carriers.codes import Codes
from ddcore.carriers.formation import Formation
from ddcore.carriers.hallucinator import Hallucinated
from ddcore.carriers.latents import Adversarial, Latents
from ddcore.carriers.memory import Memory
from ddcore.carriers.pixels import Pixels
from ddcore.data import RealData, Store
from ddcore.datasets import Cifar10, Cifar100, DataSet, Digits, Fashion, ImageFolder, Mnist, Npz, Svhn
from ddcore.distance import Distance, FilterCosine, Lp, MagnitudeAware
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
from ddcore.evaluate import Accuracy, Measure, Preprocessed, Protocol, Score, Scores, fresh_nets, train
from ddcore.experiment import (
    Experiment,
    Folder,
    Settings,
    cite,
    conclude,
    conduct,
    data_set,
    evaluate,
    lessons_of,
    preprocess_of,
    reevaluate,
    resume,
)
from ddcore.files import replaced_whole, write_whole
from ddcore.gate import Context, Fit, Gate, GatePlan, Open, Source, View, cross_entropy, disjoint, squared
from ddcore.host import Host
from ddcore.kernels import ConvTangent, DenseTangent, Kernel
from ddcore.labels import Expert, Hard, Labels, Soft, Taught, Vectors
from ddcore.marker import HOOK_API, hookimpl
from ddcore.memory import cut, items_a_chunk
from ddcore.networks.alexnet import AlexNet
from ddcore.networks.base import NetworkPlan, Started
from ddcore.networks.convnet import ConvNet
from ddcore.networks.lenet import LeNet
from ddcore.networks.mlp import MLP
from ddcore.networks.module import ModuleNetwork
from ddcore.networks.resnet import ResNet18
from ddcore.networks.vgg import VGG11
from ddcore.objectives.base import LossObjective, Objective
from ddcore.objectives.bptt import Bptt
from ddcore.objectives.combine import Sum
from ddcore.objectives.contrast import Contrast
from ddcore.objectives.features import FeatureMatch
from ddcore.objectives.gradient import GradientMatch
from ddcore.objectives.layers import LayerMatch
from ddcore.objectives.ridge import KernelRidge, TangentRidge
from ddcore.objectives.statistics import StatisticMatch
from ddcore.objectives.trajectory import TrajectoryMatch
from ddcore.parts import Part, dotted, overridden
from ddcore.policies.base import Policy
from ddcore.policies.early import Early
from ddcore.policies.experts import Experts
from ddcore.policies.fresh import Fresh
from ddcore.policies.perturbed import Perturbed
from ddcore.policies.pool import Pool
from ddcore.policies.rival import Rival
from ddcore.policies.side_by_side import SideBySide
from ddcore.policies.steady import UntilSteady
from ddcore.policies.teacher import Teacher
from ddcore.policies.trained import TrainedOnReal, TrainedOnSynthetic
from ddcore.preprocess import ZCA, Fitted, Identity, Preprocess, Standardise
from ddcore.recipe import Recipe, Update, method
from ddcore.report import Comparison, compare, plus_minus
from ddcore.rng import Streams, forked
from ddcore.run import Run
from ddcore.study import Finding, Study, conduct_study, spread
from ddcore.synthetic import CarrierModule, LabelModule, SyntheticSet
from ddcore.types import (
    Batch,
    Citation,
    DataCard,
    Draw,
    Group,
    ItemLoss,
    Mixing,
    Network,
    Params,
    Progress,
    Replay,
    Transform,
)

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
    "MLP",
    "VGG11",
    "ZCA",
    "Accuracy",
    "Adversarial",
    "Affine",
    "AlexNet",
    "Augment",
    "BadArtefact",
    "BadCheckpoint",
    "BadData",
    "Batch",
    "Bptt",
    "Carrier",
    "CarrierModule",
    "Centres",
    "Cifar10",
    "Cifar100",
    "Citation",
    "Codes",
    "Comparison",
    "Context",
    "Contrast",
    "ConvNet",
    "ConvTangent",
    "Crop",
    "DataCard",
    "DataSet",
    "DdcoreError",
    "DecodedModule",
    "DenseTangent",
    "Digits",
    "Distance",
    "DistilledSet",
    "Draw",
    "Early",
    "Experiment",
    "Expert",
    "Experts",
    "Fashion",
    "FeatureMatch",
    "FilterCosine",
    "Finding",
    "Fit",
    "Fitted",
    "Folder",
    "Formation",
    "Fresh",
    "Gate",
    "GatePlan",
    "GradientMatch",
    "Group",
    "Hallucinated",
    "Hard",
    "Herding",
    "Host",
    "Identity",
    "ImageFolder",
    "ItemLoss",
    "Kernel",
    "KernelRidge",
    "LabelModule",
    "Labels",
    "Latents",
    "LayerMatch",
    "LeNet",
    "LossDiverged",
    "LossObjective",
    "Lp",
    "MagnitudeAware",
    "Measure",
    "Memory",
    "Mixing",
    "Mnist",
    "ModuleNetwork",
    "Mosaic",
    "Network",
    "NetworkPlan",
    "Npz",
    "Objective",
    "Open",
    "Pair",
    "Params",
    "Part",
    "Perturbed",
    "Pixels",
    "PluginBroken",
    "Policy",
    "Pool",
    "Preprocess",
    "Preprocessed",
    "Progress",
    "Protocol",
    "Random",
    "RealData",
    "Recipe",
    "RecipeRefused",
    "Reconstruct",
    "Replay",
    "ResNet18",
    "Rival",
    "Run",
    "Score",
    "Scores",
    "Settings",
    "Siamese",
    "SideBySide",
    "Soft",
    "Source",
    "Standardise",
    "Started",
    "StatisticMatch",
    "StopRun",
    "Store",
    "Streams",
    "Study",
    "Sum",
    "Svhn",
    "SyntheticSet",
    "TangentRidge",
    "Taught",
    "Teacher",
    "TrainedOnReal",
    "TrainedOnSynthetic",
    "TrajectoryMatch",
    "Transform",
    "UnknownName",
    "UntilSteady",
    "Update",
    "Vectors",
    "View",
    "benchmark",
    "cite",
    "compare",
    "conclude",
    "conduct",
    "conduct_study",
    "cropped",
    "cross_entropy",
    "cut",
    "data_set",
    "digits_as_mnist",
    "disjoint",
    "distill",
    "dotted",
    "evaluate",
    "forked",
    "fresh_nets",
    "hookimpl",
    "items_a_chunk",
    "lessons_of",
    "load",
    "load_distilled",
    "method",
    "overridden",
    "plus_minus",
    "preprocess_of",
    "recipe",
    "reevaluate",
    "replaced_whole",
    "resume",
    "spread",
    "squared",
    "train",
    "write_whole",
]
