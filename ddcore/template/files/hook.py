"""A hook: what happens around each step of a run that names this plugin."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ddcore import plugin as dd

NAME = "PLUGIN"
"""What recipes call this plugin: ``[plugins.PLUGIN]``."""


@dataclass(frozen=True)
class Options(dd.Part, kind="options"):
    """What ``[plugins.PLUGIN]`` may say."""

    enough: dd.NotNegative = 0.0
    """Loss below which a run ends."""


@dd.hookimpl(wrapper=True)
def ddcore_step(run: dd.Run) -> Generator[None, float, float]:
    loss = yield
    if loss < run.recipe.options(NAME, Options).enough:
        raise dd.StopRun(f"the loss is {loss:.3g}, which is enough")
    return loss
