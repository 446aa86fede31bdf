"""What the distribution of a plugin is held to: its names, what it requires, its hooks, and each part it brings."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from ddcore.catalogue import Maker, name_of
from ddcore.datasets.base import DataSet
from ddcore.errors import BadData, DdcoreError, MissingPlugin, PluginBroken
from ddcore.host import Host, hints
from ddcore.parts import Part
from ddcore.testing.base import Check, Untried, in_a_sentence
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
from ddcore.testing.shrinking import sample, smaller
from ddcore.testing.views import check_view

CHECKS: Mapping[str, Check[...]] = {
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


@dataclass
class Inspection:
    """What was found of a plugin."""

    faults: list[str] = field(default_factory=list)
    """What breaks the rules, in sentences that say what to change."""
    untried: list[str] = field(default_factory=list)
    """Parts that could not be tried by their defaults, and why; of them only the contract was checked."""

    def makers(self, brought: Iterable[Maker], host: Host) -> None:
        """Hold each part class and method to the rules of its kind."""
        for maker in brought:
            called = f"{getattr(maker, 'kind', '')} {name_of(maker)}"
            try:
                self.faults += [f"{called}: {fault}" for fault in maker_faults(maker, host)]
            except Untried as reason:
                self.untried.append(f"{called}: {reason}")


def inspect_folder(folder: Path) -> Inspection:
    """A plugin that lies in ``folder``, installed or not: naming, requirements, hooks, and the check of each part."""
    path, found = folder / "pyproject.toml", Inspection()
    if not path.is_file():
        found.faults.append(f"{folder} holds no pyproject.toml: `ddcore plugins new NAME` writes a whole distribution.")
        return found
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except tomllib.TOMLDecodeError as error:
        found.faults.append(f"{path} is not TOML: {error}.")
        return found
    found.faults += _naming_faults(project, path)
    for name, target in project.get("entry-points", {}).get("ddcore", {}).items():
        with _importable(folder):
            found.faults += _module_faults(name, str(target), folder, found)
    return found


def inspect_installed(name: str) -> Inspection:
    """The installed plugin ``name``: whether the host can use it, what it lacks, and the check of each part.

    Raises:
        MissingPlugin: there is none of that name.
    """
    host, found = Host(), Inspection()
    found.faults += [str(problem) for problem in host.problems if problem.name == name]
    if found.faults:
        return found
    if name not in host.plugins:
        raise MissingPlugin(name, host.plugins)
    plugin = host.plugins[name]
    found.faults += [f"{name} needs {need}, which is not installed: pip install '{need}'." for need in plugin.lacking]
    found.makers(plugin.brings, host)
    return found


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


def _module_faults(name: str, target: str, folder: Path, found: Inspection) -> Iterator[str]:
    module = target.partition(":")[0]
    try:
        spec = find_spec(module.split(".")[0])
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        yield f"The entry point {name} = {target!r} names no module in {folder}: let it be the package's name."
        return
    try:
        loaded = EntryPoint(name, target, "ddcore").load()
    except (Exception, SystemExit) as error:
        said = [in_a_sentence(error)] if isinstance(error, Exception) else ["it exits."]
        yield " ".join([f"{module} cannot be imported:", *said, *hints(error)])
        return
    if getattr(loaded, "ddcore_api", None) is None and not isinstance(loaded, type):
        yield f'{module} does not say which hooks it was written for: add ddcore_api = ">=1.0,<2".'
    try:
        host = Host({name: loaded})
    except PluginBroken as error:
        yield str(error)
        return
    yield from (str(problem) for problem in host.problems if problem.name == name)
    if name in host.plugins:
        found.makers(host.plugins[name].brings, host)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The packages in ``folder``, or in its ``src``, can be imported within."""
    before, roots = list(sys.path), [str(folder.resolve() / "src"), str(folder.resolve())]
    sys.path[:0] = roots
    try:
        yield
    finally:
        sys.path[:] = before


def maker_faults(maker: Maker, host: Host) -> list[str]:
    """What a part class or a method breaks of the rules of its kind.

    Raises:
        Untried: it keeps the contract, and its defaults cannot be run.
    """
    kind = getattr(maker, "kind", "")
    if not isinstance(maker, type):
        return CHECKS[kind].faults(maker, host=host) if kind in CHECKS else []
    if own := list(class_faults(maker)):
        return own
    try:
        part: Part = smaller(sample(maker))
    except (DdcoreError, TypeError) as error:
        raise Untried(f"it has no defaults that work: let its own tests make one. ({error})") from error
    if own := check_part.faults(part, host.catalogue):
        return own
    if kind == "study":
        raise Untried("all its cases would run: let its own tests hold it to check_study, with small settings.")
    if isinstance(part, DataSet) and reads_files(part):
        raise Untried("its files are not here: let its own tests bring some.")
    return CHECKS[kind].faults(part, host=host) if kind in CHECKS else []


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
