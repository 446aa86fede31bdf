"""What the distribution of a plugin is held to: its names, what it requires, its hooks, and each part it brings."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from ddcore.catalogue import Maker, name_of
from ddcore.datasets.base import DataSet
from ddcore.errors import BadData, DdcoreError, MissingPlugin, PluginBroken
from ddcore.host import Host
from ddcore.parts import Part
from ddcore.testing.base import Check, in_a_sentence
from ddcore.testing.carriers import check_carrier
from ddcore.testing.contract import check_part, class_faults
from ddcore.testing.data_sets import check_data_set
from ddcore.testing.gates import check_gate
from ddcore.testing.measures import check_measure
from ddcore.testing.networks import check_network
from ddcore.testing.objectives import check_objective
from ddcore.testing.policies import check_policy
from ddcore.testing.protocols import check_protocol
from ddcore.testing.recipes import check_recipe
from ddcore.testing.smaller import sample, smaller
from ddcore.testing.views import check_view

CHECKS: Mapping[str, Check[Any]] = {
    "carrier": check_carrier,
    "data": check_data_set,
    "gate": check_gate,
    "measure": check_measure,
    "method": check_recipe,
    "network": check_network,
    "objective": check_objective,
    "policy": check_policy,
    "protocol": check_protocol,
    "view": check_view,
}
"""The check of each kind whose parts can be tried by themselves."""


@Check
def check_distribution(folder: Path) -> Iterator[str]:
    """A plugin that lies in ``folder``, installed or not: naming, requirements, hooks, and the check of each part."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        yield f"{folder} holds no pyproject.toml: `ddcore plugins new NAME` writes a whole distribution."
        return
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except tomllib.TOMLDecodeError as error:
        yield f"{path} is not TOML: {error}."
        return
    yield from _naming_faults(project, path)
    for name, target in project.get("entry-points", {}).get("ddcore", {}).items():
        yield from _module_faults(name, str(target), folder)


@Check
def check_installed(name: str) -> Iterator[str]:
    """The installed plugin ``name``: whether the host can use it, what it lacks, and the check of each part."""
    host = Host()
    if problems := [problem for problem in host.problems if problem.name == name]:
        yield from map(str, problems)
        return
    if name not in host.plugins:
        raise MissingPlugin(name, host.plugins)
    plugin = host.plugins[name]
    for need in plugin.lacking:
        yield f"{name} needs {need}, which is not installed: pip install '{need}'."
    for maker in plugin.brings:
        yield from maker_faults(maker, host)


def _naming_faults(project: Mapping[str, Any], path: Path) -> Iterator[str]:
    called, entries = str(project.get("name", "")), project.get("entry-points", {}).get("ddcore", {})
    if not re.fullmatch(r"ddcore-[a-z][a-z0-9-]*", called):
        yield (
            f'{path}: the distribution is called {called!r}: name it "ddcore-" and what it does, in small letters, so'
            " that people find it and errors can say what to install."
        )
    if not entries:
        yield f'{path}: no entry point for ddcore: add [project.entry-points.ddcore] with NAME = "MODULE".'
    for name in entries:
        if f"ddcore-{name.replace('_', '-')}" != called and called:
            yield f"{path}: the plugin is called {name} and its distribution {called}: call it ddcore-{name}."
    for key in ("version", "description", "requires-python"):
        if not project.get(key) and key not in project.get("dynamic", ()):
            yield f"{path}: [project] says no {key}."
    try:
        needs = [Requirement(text) for text in project.get("dependencies", ())]
    except InvalidRequirement as error:
        yield f"{path}: a dependency cannot be read: {error}."
        return
    of_core = [need for need in needs if need.name == "ddcore"]
    if not any(sign.operator in ("<", "<=", "~=", "==") for need in of_core for sign in need.specifier):
        yield f'{path}: it says no range of ddcore that it works with: write dependencies = ["ddcore>=0.1,<0.2"].'


def _module_faults(name: str, target: str, folder: Path) -> Iterator[str]:
    with _importable(folder):
        module = target.partition(":")[0]
        try:
            found = find_spec(module.split(".")[0])
        except (ImportError, ValueError):
            found = None
        if found is None:
            yield f"The entry point {name} = {target!r} names no module in {folder}: let it be the package's name."
            return
        try:
            loaded = EntryPoint(name, target, "ddcore").load()
        except (Exception, SystemExit) as error:
            said = in_a_sentence(error) if isinstance(error, Exception) else "it exits."
            yield f"{module} cannot be imported: {said} Import host libraries where they are used, not at the top."
            return
        if getattr(loaded, "ddcore_api", None) is None and not isinstance(loaded, type):
            yield f'{module} does not say which hooks it was written for: add ddcore_api = ">=1.0,<2".'
        try:
            host = Host({name: loaded})
        except PluginBroken as error:
            yield str(error)
            return
        if name not in host.plugins:
            yield from (str(problem) for problem in host.problems if problem.name == name)
            return
        for maker in host.plugins[name].brings:
            yield from maker_faults(maker, host)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The packages in ``folder``, or in its ``src``, can be imported within."""
    before, roots = list(sys.path), [str(folder.resolve() / "src"), str(folder.resolve())]
    sys.path[:0] = roots
    try:
        yield
    finally:
        sys.path[:] = before


def maker_faults(maker: Maker, host: Host) -> Iterator[str]:
    """What a part class or a method breaks of the rules of its kind, each sentence with its name before it."""
    kind = getattr(maker, "kind", "")
    for sentence in _maker_faults(maker, kind, host):
        yield f"{kind} {name_of(maker)}: {sentence}"


def _maker_faults(maker: Maker, kind: str, host: Host) -> Iterator[str]:
    if not isinstance(maker, type):
        yield from CHECKS[kind].faults(maker, host=host) if kind in CHECKS else ()
        return
    yield from (own := list(class_faults(maker)))
    if own:
        return
    try:
        part: Part = smaller(sample(maker))
    except (DdcoreError, TypeError):
        return  # it has no defaults: its author's tests make one
    check = CHECKS.get(kind)
    if check is None or (isinstance(part, DataSet) and reads_files(part)):
        yield from check_part.faults(part, host.catalogue)
    else:
        yield from check.faults(part, host=host)


def reads_files(part: DataSet) -> bool:
    """It cannot be tried without files that are not here; nothing is downloaded for a check."""
    if list(part.files()):
        return True
    try:
        part.load()
    except BadData:
        return True
    except Exception:  # the check says what it is
        return False
    return False
