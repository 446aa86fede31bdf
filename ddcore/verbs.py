"""The verbs of the face: load, recipe, protocol, distill, load_distilled."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.evaluation.preset import preset_on
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.reading import data_set, distilled_at
from ddcore.host import Host


def load(name: str, **fields: Any) -> RealData:
    """The data set of that name (``ddcore list data``), or at that path, with its fields such as ``root``."""
    return data_set(Host().catalogue, name, **fields).load()


def recipe(name: str, *, data: RealData | None = None, **arguments: Any) -> Recipe:
    """The recipe of a method (``ddcore list methods``), with the defaults that suit ``data``; or of a recipe file.

    Without ``data`` it is the one for images.
    """
    return Host().recipe(name, kind=data.card.kind if data else "image", **arguments)


def protocol(name: str, *, data: RealData | None = None, **fields: Any) -> Protocol:
    """The protocol of that name (``ddcore list protocols``), with ``fields`` in the place of its own.

    As it suits ``data``, and where its authors have another one for them, that one; without ``data``, as for images.
    """
    host = Host()
    meant = preset_on(name, data.card.name, host.catalogue) if data else name
    return host.protocol(meant, kind=data.card.kind if data else "image", **fields)


def distill(recipe: Recipe, data: RealData, *, seed: int | None = None, device: str = "cpu") -> DistilledSet:
    """Run ``recipe`` on ``data`` from beginning to end, with the plugins that it names."""
    return Host().distill(recipe, data, seed=seed, device=device)


def load_distilled(path: str | PathLike[str]) -> DistilledSet:
    """A distilled set from its file, from the folder of its experiment, of the zoo (``zoo:digits-kfs-ipc1``; `ddcore
    list zoo`), or of the Hugging Face Hub (``hf:OWNER/NAME@REVISION``); runs no code of the file's."""
    return distilled_at(path)
