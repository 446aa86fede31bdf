"""What a method, or the recipe it makes, is held to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.host import Host
from ddcore.run import Run
from ddcore.testing.base import Check, Untried
from ddcore.testing.contract import toml_faults
from ddcore.testing.shrinking import smaller
from ddcore.testing.trial import Trial, data_for, rated, run_faults, tensors, undeclared

STEPS = 3


@Check
def check_recipe(
    given: Recipe | Callable[..., Recipe], *, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """A method has a docstring, its papers and its own name, and takes ``ipc``. Its recipe is the same after a trip
    through TOML; made small, it asks what it declares, another seed teaches it another S, and it goes on bit for bit
    after a stop."""
    host = host or Host()
    name = given.name if isinstance(given, Recipe) else given.__name__.rstrip("_")
    if not isinstance(given, Recipe):
        if not inspect.getdoc(given):
            yield f"{name} has no docstring: give the equation, the paper and the source of the defaults."
        if not getattr(given, "cites", ()):
            yield f"{name} cites no paper: put @dd.method(dd.Citation(...)) above it."
        if "ipc" not in inspect.signature(given).parameters:
            yield f"{name} takes no ipc, which `ddcore distill --ipc` sets: give it ipc=1."
    recipe = given if isinstance(given, Recipe) else given()
    if recipe.name != name:
        yield f"{name} makes a recipe that is called {recipe.name}, as reports do: give it name={name!r}."
    yield from toml_faults(recipe, host.catalogue)
    data = data or data_for(tuple(part for where, part in recipe.within() if where), host)
    found, run = started(smaller(host.kind(data.card.kind).adapted(recipe)), data, host)
    if run.recipe.gate.guards:
        yield from run_faults(found, name)
        return
    run.run_until()
    yield from undeclared(run.trace.asked, run.recipe.asks, name)
    if run.recipe.objective is not None:
        other = Trial(replace(found.recipe, seed=4), data, host).start()
        other.run_until()
        if all(map(torch.equal, tensors(run), tensors(other))):
            yield f"{name} makes the same S whatever the seed: draw from ctx.rng."
    yield from run_faults(found, name)


def started(recipe: Recipe, data: RealData, host: Host) -> tuple[Trial, Run]:
    """A small run of ``recipe``, of two items per class or of as many as its decoder takes."""
    refusals = []
    for ipc in (min(2, recipe.ipc), 4, 6, 8):
        small = replace(recipe, synthetic=replace(recipe.synthetic, ipc=ipc), seed=3)
        try:
            small = rated(replace(small, iterations=STEPS if small.objective else 0), data.card)
            return (found := Trial(small, data, host)), found.start()
        except RecipeRefused as refused:
            refusals.append(refused)
    said = f"{recipe.name} could not be run as it is: give the check a recipe that can."
    raise Untried(f"{said} ({refusals[0]})") from refusals[0]
