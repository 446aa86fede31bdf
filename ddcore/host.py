"""The host of the plugins: who is installed, what they bring, and one hook manager for each run."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pluggy
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ddcore import builtin, hookspecs
from ddcore.artefact import DistilledSet
from ddcore.catalogue import Catalogue, Maker
from ddcore.composition import Recipe, check_suits
from ddcore.data import RealData
from ddcore.errors import BadData, MissingPlugin, PluginBroken, RecipeRefused, UnknownName
from ddcore.evaluation.kept import code_of
from ddcore.evaluation.protocol import Protocol
from ddcore.gate.record import SpendRecord
from ddcore.kinds import ItemKind, kind_named
from ddcore.marker import HOOK_API, PROJECT
from ddcore.networks.base import tried_once
from ddcore.packing import overridden, read_toml
from ddcore.run import Hooks, Run
from ddcore.trace import Trace
from ddcore.types import Progress

STRICT = "DDCORE_STRICT_PLUGINS"
ABOVE = EntryPoint("study", "ddcore.study", PROJECT)
"""The core's parts that stand above the host are announced by name, as a plugin's are."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin that can be used."""

    name: str
    distribution: str
    version: str
    module: object
    brings: tuple[Maker, ...] = ()
    """What it answers to ``ddcore_parts``."""
    lacking: tuple[str, ...] = ()
    """Requirements of it that what is installed does not meet; what needs them fails when it is used."""

    @property
    def hooks(self) -> list[str]:
        """The hooks that it implements."""
        callers = _manager([(self.name, self.module)]).get_hookcallers(self.module) or ()
        return sorted(caller.name for caller in callers)


@dataclass(frozen=True)
class PluginProblem:
    """An installed plugin that cannot be used, why, and what to do."""

    name: str
    distribution: str
    version: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"Plugin {self.name!r} ({self.distribution} {self.version}) cannot be used: {self.cause}."
            f" Try: {self.remedy}"
        )


def _manager(plugins: Iterable[tuple[str, object]], trace: Trace | None = None) -> pluggy.PluginManager:
    """A hook manager with the core and ``plugins``, heard in the order given, whose calls stand in ``trace``."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, name="ddcore")
    for name, module in reversed(list(plugins)):
        manager.register(module, name=name)
    manager.check_pending()
    for name, module in manager.list_name_plugin() if trace else ():
        for caller in manager.get_hookcallers(module) or ():
            for implementation in caller.get_hookimpls():
                if trace and implementation.plugin is module:
                    wraps = implementation.wrapper or implementation.hookwrapper
                    traced = trace.wrapper if wraps else trace.function
                    cast(Any, implementation).function = traced(name, caller.name, implementation.function)
    return manager


def _core() -> Catalogue:
    catalogue = Catalogue()
    catalogue.add([*builtin.ddcore_parts(), *ABOVE.load().PARTS], PROJECT)
    return catalogue


def _brought(name: str, module: object, core: Catalogue) -> tuple[Maker, ...]:
    """What ``module`` answers to ``ddcore_parts``, besides what is the ``core``'s own.

    Raises PluginBroken with the reason why ``module`` is no plugin of this host.
    """
    if isinstance(module, type):
        raise PluginBroken(f"its entry point is the class {module.__name__}, not an object: did you forget the ()")
    wanted = getattr(module, "ddcore_api", None)
    api = ".".join(map(str, HOOK_API))
    if wanted is not None:
        try:
            fits = api in SpecifierSet(wanted)
        except InvalidSpecifier:
            raise PluginBroken(f"ddcore_api = {wanted!r} is not a range of versions") from None
        if not fits:
            raise PluginBroken(f"it was written for hooks {wanted}, and this ddcore has {api}")
    for hook in (hook for hook in vars(hookspecs) if hook.startswith("ddcore_")):
        if callable(getattr(module, hook, None)) and not hasattr(getattr(module, hook), f"{PROJECT}_impl"):
            raise PluginBroken(f"its {hook} is not marked, and would not be heard: put @ddcore.hookimpl above it")
    try:
        answers = _manager([(name, module)]).hook.ddcore_parts()
        for answer in answers:
            if not isinstance(answer, list | tuple):
                said = answer.__name__ if isinstance(answer, type) else repr(answer)
                raise PluginBroken(f"its ddcore_parts answers {said}, not a list: return [{said}]")
        cores = {id(entry.maker) for entry in core}
        brought = tuple(maker for answer in answers for maker in answer if id(maker) not in cores)
        core.copy().add(brought, name)
    except (pluggy.PluginValidationError, PluginBroken) as error:
        raise PluginBroken(" ".join(str(error).split())) from error
    return brought


def unmet(distribution: Distribution) -> list[str]:
    """The requirements of ``distribution``, extras apart, that what is installed does not meet."""
    found = []
    for text in distribution.requires or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            there = ""
        if not there or not wanted.specifier.contains(there, prereleases=True):
            found.append(f"{wanted.name}{wanted.specifier}")
    return found


def _load(entry: EntryPoint, core: Catalogue) -> Plugin | PluginProblem:
    """The plugin behind an entry point; whatever goes wrong in it stays in it."""
    distribution = entry.dist.name if entry.dist else "unknown distribution"
    at = entry.dist.version if entry.dist else "?"
    lacking = unmet(entry.dist) if entry.dist else []
    needed = f"pip install {' '.join(map(repr, lacking))}"

    def problem(cause: str, remedy: str) -> PluginProblem:
        return PluginProblem(entry.name, distribution, at, cause.rstrip("."), remedy)

    upgrade = f"pip install --upgrade {distribution}"
    try:
        module = entry.load()
        brings = _brought(entry.name, module, core)
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        own = missing.split(".")[0] == entry.module.split(".")[0]
        remedy = upgrade if own else needed if lacking else f"pip install {missing.split('.')[0]}"
        return problem(f"it needs the module {missing}", remedy)
    except PluginBroken as error:
        return problem(str(error), upgrade)
    except (Exception, SystemExit) as error:  # a plugin's own code: anything may come out of it
        if isinstance(error, ImportError | AttributeError) and lacking:
            return problem(f"it needs {' and '.join(lacking)} ({error})", needed)
        return problem(". ".join([f"{type(error).__name__}: {str(error).rstrip('.')}", *hints(error)]), upgrade)
    return Plugin(entry.name, distribution, at, module, brings, tuple(lacking))


def hints(error: BaseException) -> Iterator[str]:
    """What an author may have meant who sees ``error``."""
    if "non-frozen dataclass from a frozen one" in str(error):
        yield "Parts are frozen: write @dataclass(frozen=True)."
    if isinstance(error, ImportError):
        yield "Import host libraries where they are used, not at the top."


class Host:
    """Who is installed. Nothing here is global: two hosts know nothing of each other.

    ``extra`` adds plugins that are not installed, by name (for tests and notebooks).

    Raises:
        PluginBroken: under ``DDCORE_STRICT_PLUGINS=1``, when any installed plugin has a problem.
    """

    def __init__(self, extra: Mapping[str, ModuleType | object] | None = None) -> None:
        self._extra = dict(extra or {})
        self.catalogue = _core()
        core = self.catalogue.copy()
        found = [_load(entry, core) for entry in sorted(entry_points(group=PROJECT), key=lambda e: e.name)]
        self.problems = [p for p in found if isinstance(p, PluginProblem)]
        self.plugins: dict[str, Plugin] = {}
        usable = [p for p in found if isinstance(p, Plugin)]
        for p in usable:
            if rivals := [other.distribution for other in usable if other.name == p.name and other is not p]:
                cause = f"{' and '.join(rivals)} brings a plugin of that name too"
                remedy = f"pip uninstall {rivals[0]}"
                self.problems.append(PluginProblem(p.name, p.distribution, p.version, cause, remedy))
            else:
                self.plugins[p.name] = p
        for name, module in self._extra.items():
            try:
                self.plugins[name] = Plugin(name, name, "0", module, _brought(name, module, core))
            except PluginBroken as error:
                raise PluginBroken(f"Plugin {name!r} cannot be used: {str(error).rstrip('.')}.") from error
        for plugin in list(self.plugins.values()):
            try:
                self.catalogue.add(plugin.brings, plugin.distribution)
            except PluginBroken as error:
                remedy = f"pip uninstall {plugin.distribution}"
                problem = PluginProblem(plugin.name, plugin.distribution, plugin.version, str(error), remedy)
                self.problems.append(problem)
                del self.plugins[plugin.name]
        if self.problems and os.environ.get(STRICT) == "1":
            raise PluginBroken("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is made anew, of what is installed there and the same extra plugins."""
        return Host, (self._extra,)

    @cached_property
    def code(self) -> str | None:
        """A hash of the source of all parts that are known here; None where some of it lies in no file."""
        names = {entry.maker.__module__.partition(".")[0] for entry in self.catalogue}
        return code_of({name: sys.modules[name] for name in names})

    def manager(self, names: Iterable[str], trace: Trace | None = None) -> pluggy.PluginManager:
        """A new hook manager in which the core and the named plugins are heard, in that order.

        Whom it calls stands in ``trace``.

        Raises:
            PluginBroken: a named plugin is installed and cannot be used.
            MissingPlugin: a named plugin is not installed.
        """
        chosen = []
        for name in names:
            for problem in self.problems:
                if problem.name == name:
                    raise PluginBroken(str(problem))
            if name not in self.plugins:
                raise MissingPlugin(name, self.plugins)
            chosen.append((name, self.plugins[name].module))
        return _manager(chosen, trace)

    def kind(self, name: str) -> ItemKind:
        """The kind of items of that name. Raises UnknownName where nothing brings it."""
        return kind_named(name, self.catalogue)

    def recipe(
        self, name: str, /, *, kind: str = "image", overrides: Mapping[str, Any] | None = None, **arguments: Any
    ) -> Recipe:
        """The recipe of the method ``name``, or of the TOML file at that path.

        A method is made for items of the ``kind``: of its defaults, those that do not suit give way to the kind's.
        ``arguments`` go to the method; ``overrides`` set single fields by dotted path, as ``--set`` does.

        Raises:
            UnknownName: no such method. MissingPlugin: it needs a plugin that is not installed. RecipeRefused: a field
                that does not exist or cannot be so.
        """
        if name.endswith(".toml"):
            recipe = Recipe.from_toml(read_toml(Path(name)), self.catalogue, name)
        else:
            maker = cast(Callable[..., Recipe], self.catalogue.find("method", name).maker)
            for need in getattr(maker, "needs_plugins", ()):
                if need not in self.plugins:
                    raise MissingPlugin(need, self.plugins)
            takes = inspect.signature(maker).parameters
            for argument in arguments.keys() - takes.keys():
                raise RecipeRefused(str(UnknownName(f"setting of {name}", argument, takes)))
            recipe = self.kind(kind).adapted(maker(**arguments))
        return overridden(recipe, overrides or {}, self.catalogue)

    def protocol(
        self, name: str, /, *, kind: str = "image", overrides: Mapping[str, Any] | None = None, **fields: Any
    ) -> Protocol:
        """The protocol preset ``name``, with ``fields`` in the place of its own; ``kind`` and ``overrides`` as for a
        recipe.

        Raises:
            UnknownName: no such preset. RecipeRefused: a field that does not exist or cannot be so.
        """
        made = self.kind(kind).adapted(cast(Callable[[], Protocol], self.catalogue.find("protocol", name).maker)())
        return overridden(replace(made, **fields), overrides or {}, self.catalogue)

    @tried_once()
    def start(
        self,
        recipe: Recipe,
        data: RealData,
        *,
        device: str = "cpu",
        on_step: Callable[[Run, dict[str, Any]], None] | None = None,
        progress: Progress | None = None,
        on_pause: Callable[[Run], None] | None = None,
        on_distilled: Callable[[DistilledSet], None] | None = None,
        rounds: int = 1,
        record: SpendRecord | None = None,
    ) -> Run:
        """A run of ``recipe`` on ``data`` with its plugins at their hooks; nothing of T is read yet.

        It is one of ``rounds`` on these data, which share what the gate may tell (``GatePlan.for_rounds``). What a gate
        that guards tells goes into ``record`` first, which has been begun or read before the run starts.
        """
        for fault in data.card.faults():
            raise BadData(f"{data.card.name} cannot be distilled: {fault}.")
        trace = Trace()
        hooks = self.manager(recipe.plugins, trace).hook
        check_suits(recipe, data.card, self.catalogue)
        final = hooks.ddcore_recipe(recipe=recipe, card=data.card)
        final = replace(final, gate=final.gate.for_rounds(rounds))
        final.check(data.card, self.catalogue)
        return Run(final, data, cast(Hooks, hooks), device, on_step, progress, on_pause, on_distilled, record, trace)

    def distill(
        self,
        recipe: Recipe,
        data: RealData,
        *,
        seed: int | None = None,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> DistilledSet:
        """Run ``recipe`` on ``data`` from beginning to end; ``progress`` is called in long work that is not a step."""
        recipe = recipe if seed is None else replace(recipe, seed=seed)
        run = self.start(recipe, data, device=device, progress=progress)
        return run.hooks.ddcore_distill(run=run)
