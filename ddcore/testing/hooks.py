"""What is seen of a plugin's hooks: who was called, and whether it changed anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from typing import Any

import torch

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.host import Host
from ddcore.marker import hookimpl
from ddcore.run import Run
from ddcore.testing.tiny import tiny_images
from ddcore.testing.trial import tiny_recipe
from ddcore.types import DataCard


class HookRecorder:
    """A plugin that notes which hooks are called, in their order, and changes nothing.

    ``Host({"recorder": recorder})``, and ``plugins={"recorder": {}}`` in the recipe.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def assert_called(self, hook: str, times: int | None = None) -> None:
        """Raises AssertionError where ``hook`` was not called, or not so many ``times``."""
        __tracebackhide__ = True
        counts = Counter(self.calls)
        if counts[hook] != times if times is not None else not counts[hook]:
            wanted = "at least once" if times is None else f"{times} times"
            raise AssertionError(f"{hook} was called {counts[hook]} times, not {wanted}. All calls: {dict(counts)}.")

    @hookimpl(wrapper=True)
    def ddcore_recipe(self, recipe: Recipe, card: DataCard) -> Generator[None, Recipe, Recipe]:
        self.calls.append("ddcore_recipe")
        return (yield)

    @hookimpl(wrapper=True)
    def ddcore_distill(self, run: Run) -> Generator[None, DistilledSet, DistilledSet]:
        self.calls.append("ddcore_distill")
        return (yield)

    @hookimpl(wrapper=True)
    def ddcore_step(self, run: Run) -> Generator[None, float, float]:
        self.calls.append("ddcore_step")
        return (yield)


def assert_same_as_plain(
    plugin: str,
    options: Mapping[str, Any] | None = None,
    *,
    recipe: Recipe | None = None,
    host: Host | None = None,
) -> None:
    """A run that names ``plugin``, with ``options`` that change nothing, makes bit for bit what a run without it makes.

    Raises:
        AssertionError: it does not, in a sentence.
    """
    __tracebackhide__ = True
    host, data = host or Host(), tiny_images()
    plain = recipe or tiny_recipe(data=data, host=host)
    named = Recipe(**{**plain.__dict__, "plugins": {**plain.plugins, plugin: dict(options or {})}})
    one, other = host.distill(plain, data), host.distill(named, data)
    differing = [name for name in ("inputs", "targets") if not torch.equal(getattr(one, name), getattr(other, name))]
    if differing:
        raise AssertionError(
            f"With [plugins.{plugin}] {dict(options or {})} the {' and '.join(differing)} of a small run are not those"
            " of a run without it: a hook that is asked for nothing may draw nothing and change nothing."
        )
