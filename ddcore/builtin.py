"""The core as its own first plugin: what it brings, and the loop."""

from __future__ import annotations

from importlib import import_module

from ddcore import recipes
from ddcore.artefact import DistilledSet
from ddcore.catalogue import Maker
from ddcore.composition import Recipe
from ddcore.errors import RecipeRefused, StopRun
from ddcore.marker import hookimpl
from ddcore.run import Run
from ddcore.types import DataCard

FAMILIES = (
    "augment",
    "carriers",
    "datasets",
    "distance",
    "evaluation",
    "exchange",
    "gate",
    "kernels",
    "kinds",
    "labels",
    "networks",
    "objectives",
    "optimisers",
    "policies",
    "preprocess",
    "schedules",
    "update",
)
"""Where the core's parts stand."""


@hookimpl(trylast=True)
def ddcore_parts() -> list[Maker]:
    families = [import_module(f"ddcore.{name}") for name in FAMILIES]
    return [*(part for family in families for part in family.PARTS), *recipes.METHODS]


@hookimpl(trylast=True)
def ddcore_recipe(recipe: Recipe, card: DataCard) -> Recipe:
    return recipe.fitted(card)


@hookimpl(trylast=True)
def ddcore_distill(run: Run) -> DistilledSet:
    try:
        run.run_until()
    except StopRun as reason:
        if not run.started:
            raise RecipeRefused(f"S did not get its first values: {reason}") from reason
        run.facts["stopped"] = str(reason)
    distilled = run.export()
    if run.on_distilled:
        run.on_distilled(distilled)
    return distilled


@hookimpl(trylast=True)
def ddcore_step(run: Run) -> float:
    return run.update()
