"""The four hooks. A plugin is a module with functions of these names, marked ``@ddcore.hookimpl``.

Only the arguments that an implementation names are handed to it. ``ddcore_parts`` is asked of every
installed plugin; the other three are heard only in a run whose recipe names the plugin. What a hook may read of
``run`` is listed in :class:`ddcore.run.Run`.
"""

from __future__ import annotations

from ddcore.artefact import DistilledSet
from ddcore.catalogue import Maker
from ddcore.composition import Recipe
from ddcore.marker import hookspec
from ddcore.run import Run
from ddcore.types import DataCard


@hookspec
def ddcore_parts() -> list[Maker]:  # type: ignore[empty-body]
    """The parts and methods that this plugin brings; all answers are collected.

    Called when something is looked up or listed, so it must be cheap and must not import a host library::

        @ddcore.hookimpl
        def ddcore_parts():
            return [MyCarrier, my_method]
    """


@hookspec(firstresult=True)
def ddcore_recipe(recipe: Recipe, card: DataCard) -> Recipe:  # type: ignore[empty-body]
    """The last word on a recipe, before anything is built or read.

    The core's own implementation decides what the recipe left to the data. A wrapper may answer another
    recipe, or raise ``RecipeRefused``; the run checks what comes out::

        @ddcore.hookimpl(wrapper=True)
        def ddcore_recipe(recipe, card):
            fitted = yield
            if card.classes > 100:
                raise ddcore.RecipeRefused("my_plugin handles at most 100 classes.")
            return fitted
    """


@hookspec(firstresult=True)
def ddcore_distill(run: Run) -> DistilledSet:  # type: ignore[empty-body]
    """Around a whole run; the core's own implementation is the loop.

    A wrapper sees the run before its first step and after its last, and may answer a set with more facts. The set has
    been saved by then, so a wrapper that fails loses only what it would have added::

        @ddcore.hookimpl(wrapper=True)
        def ddcore_distill(run):
            distilled = yield
            return distilled.with_facts(checked_by="my_plugin")
    """


@hookspec(firstresult=True)
def ddcore_step(run: Run) -> float:  # type: ignore[empty-body]
    """Around one update of S; the answer is its loss.

    After the ``yield`` ``run.draw`` is the network of the step, before it that of the last one. Raise ``StopRun`` to
    end the run in good order::

        @ddcore.hookimpl(wrapper=True)
        def ddcore_step(run):
            loss = yield
            if loss < 1e-3:
                raise ddcore.StopRun("S matches T")
            return loss
    """
