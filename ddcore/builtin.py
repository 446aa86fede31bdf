"""The core as its own first plugin: what it brings, and the loop."""

from __future__ import annotations

from ddcore.artefact import DistilledSet
from ddcore.augment import Affine, Crop, Siamese
from ddcore.carriers.centres import Centres, Reconstruct
from ddcore.carriers.chosen import Herding, Mosaic, Random
from ddcore.carriers.codes import Codes
from ddcore.carriers.formation import Formation
from ddcore.carriers.hallucinator import Hallucinated
from ddcore.carriers.latents import Adversarial, Latents
from ddcore.carriers.memory import Memory
from ddcore.carriers.pixels import Pixels
from ddcore.datasets import DATASETS
from ddcore.distance import FilterCosine, Lp, MagnitudeAware
from ddcore.errors import RecipeRefused, StopRun
from ddcore.evaluate import Accuracy, Protocol
from ddcore.gate import Fit, Open
from ddcore.kernels import ConvTangent, DenseTangent
from ddcore.labels import Expert, Hard, Soft, Taught, Vectors
from ddcore.marker import hookimpl
from ddcore.networks.alexnet import AlexNet
from ddcore.networks.convnet import ConvNet
from ddcore.networks.lenet import LeNet
from ddcore.networks.mlp import MLP
from ddcore.networks.resnet import ResNet18
from ddcore.networks.vgg import VGG11
from ddcore.objectives.bptt import Bptt
from ddcore.objectives.combine import Sum
from ddcore.objectives.contrast import Contrast
from ddcore.objectives.features import FeatureMatch
from ddcore.objectives.gradient import GradientMatch
from ddcore.objectives.layers import LayerMatch
from ddcore.objectives.ridge import KernelRidge, TangentRidge
from ddcore.objectives.statistics import StatisticMatch
from ddcore.objectives.trajectory import TrajectoryMatch
from ddcore.parts import Maker
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
from ddcore.preprocess import ZCA, Identity, Standardise
from ddcore.recipe import Recipe, Update
from ddcore.recipes.bptt import dd, gtn, ld, ld_ridge, rtp, sldd
from ddcore.recipes.decoupled import cda, rded, sre2l
from ddcore.recipes.distribution import cafe, dm, it_gan, kfs
from ddcore.recipes.generative import d4m
from ddcore.recipes.gradient import accdd, dc, dcc, dsa, idc, intra_inter
from ddcore.recipes.kernel import frepo, kip, rfad
from ddcore.recipes.selection import herding, random
from ddcore.recipes.trajectory import datm, ftd, haba, mtt, tesla
from ddcore.run import Run
from ddcore.types import DataCard

PARTS = (
    *(Pixels, Formation, Hallucinated, Codes, Memory, Latents, Adversarial, Centres, Reconstruct),
    *(Random, Herding, Mosaic, Hard, Soft, Vectors, Expert, Taught),
    *(FeatureMatch, LayerMatch, GradientMatch, TrajectoryMatch, Bptt, KernelRidge, TangentRidge, StatisticMatch),
    *(Contrast, Sum, FilterCosine, MagnitudeAware, Lp, ConvTangent, DenseTangent),
    *(Fresh, SideBySide, TrainedOnSynthetic, TrainedOnReal, Teacher, UntilSteady, Early, Perturbed, Pool),
    *(Experts, Rival),
    *(ConvNet, MLP, LeNet, AlexNet, VGG11, ResNet18),
    *(Update, Siamese, Affine, Crop, Standardise, ZCA, Identity, Open, Fit, Protocol, Accuracy),
    *DATASETS,
)
METHODS = (
    *(random, herding, dm, cafe, kfs, it_gan),
    *(dc, dsa, dcc, intra_inter, idc, accdd),
    *(mtt, ftd, tesla, datm, haba),
    *(dd, sldd, ld, ld_ridge, rtp, gtn),
    *(kip, frepo, rfad),
    *(sre2l, cda, rded, d4m),
)


@hookimpl(trylast=True)
def ddcore_parts() -> list[Maker]:
    return [*PARTS, *METHODS]


@hookimpl(trylast=True)
def ddcore_recipe(recipe: Recipe, card: DataCard) -> Recipe:
    return recipe.fitted(card)


@hookimpl(trylast=True)
def ddcore_distill(run: Run) -> DistilledSet:
    try:
        run.go()
    except StopRun as reason:
        if not run.started:
            raise RecipeRefused(f"S did not get its first values: {reason}") from reason
        run.facts["stopped"] = str(reason)
    return run.export()


@hookimpl(trylast=True)
def ddcore_step(run: Run) -> float:
    return run.update()
