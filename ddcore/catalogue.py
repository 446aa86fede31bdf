"""The catalogue: parts and methods by kind and name, and what a part must be to stand in it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from ddcore.errors import DdcoreError, PluginBroken, UnknownName
from ddcore.parts import Part

Maker = type[Part] | Callable[..., Any]


def name_of(maker: Maker) -> str:
    return maker.part_name() if isinstance(maker, type) else maker.__name__.rstrip("_")


@dataclass(frozen=True)
class Entry:
    """Where a part comes from."""

    maker: Maker
    kind: str
    name: str
    distribution: str


class Catalogue:
    """Parts and methods by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}

    def add(self, makers: Iterable[Maker], distribution: str) -> None:
        """Enter ``makers``, all or none; the same one twice is no matter.

        Raises:
            PluginBroken: two different makers claim one name, or a part is not whole.
        """
        entries = dict(self._entries)
        for maker in makers:
            kind = getattr(maker, "kind", "")
            if isinstance(maker, Part):
                raise PluginBroken(f"{distribution} announces {maker}, a part: announce its class, without the ().")
            if not kind:
                raise PluginBroken(
                    f"{distribution} announces {maker!r}, which is neither a part nor a method. Derive it from a kind"
                    " of ddcore.plugin, or mark it with @dd.method(...) or @dd.preset(...)."
                )
            if isinstance(maker, type):
                for fault in contract_faults(maker):
                    raise PluginBroken(f"{distribution} announces the {kind} {maker.__name__}: {fault}.")
            entry = Entry(maker, kind, name_of(maker), distribution)
            held = entries.setdefault((kind, entry.name), entry)
            if held.maker is not maker:
                raise PluginBroken(f"{held.distribution} and {distribution} both bring a {kind} named {entry.name!r}.")
        self._entries = entries

    def copy(self) -> Catalogue:
        """Another catalogue of the same entries."""
        found = Catalogue()
        found._entries = dict(self._entries)
        return found

    def find(self, kind: str, name: str) -> Entry:
        """Raises UnknownName, with the near names."""
        try:
            return self._entries[kind, name]
        except KeyError:
            raise UnknownName(kind, name, (e.name for e in self.of(kind))) from None

    def of(self, kind: str) -> list[Entry]:
        return sorted((e for e in self._entries.values() if e.kind == kind), key=lambda e: e.name)

    def giving(self, need: str) -> list[Entry]:
        """The parts that give ``need``."""
        return [entry for entry in self if isinstance(entry.maker, type) and need in _gives(entry.maker)]

    def suited(self, kind: str, items: str) -> list[Entry]:
        """The parts of a ``kind`` that suit items of the kind ``items``."""
        found = [(entry, getattr(entry.maker, "suits", None)) for entry in self.of(kind)]
        return [entry for entry, suits in found if suits is None or items in suits]

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda e: (e.kind, e.name)))


def _gives(cls: type[Part]) -> frozenset[str]:
    """What a part of ``cls`` gives by default; what needs no field, where it has no default."""
    try:
        return cls().gives
    except (TypeError, DdcoreError):
        try:
            return object.__new__(cls).gives
        except AttributeError:
            return frozenset()


@cache
def contract_faults(cls: type[Part]) -> tuple[str, ...]:
    """What keeps ``cls`` from being a part, in sentences; the same of what its ``build`` is annotated to return."""
    return tuple(_contract_faults(cls))


def _contract_faults(cls: type[Part]) -> Iterator[str]:
    yield from _lacking(cls, f"every {cls.kind}")
    classes = cls.__mro__[: cls.__mro__.index(Part)]
    for ancestor in classes:
        said = vars(ancestor).get("__annotations__", {})
        bare = [name for name, hint in said.items() if "ClassVar" not in str(hint)]
        if bare and "__dataclass_params__" not in vars(ancestor) and {*bare} - {f.name for f in fields(cls)}:
            yield f"{ancestor.__name__} has the field {bare[0]}, but no @dataclass(frozen=True) above it"
        if "__post_init__" in vars(ancestor):
            yield f"{ancestor.__name__} defines __post_init__: give its fields bounds, or say in faults() what is wrong"
    kind = classes[-1]
    for f in fields(cls):
        if f.name == "name" or inspect.isfunction(getattr(Part, f.name, None)):
            yield f"its field {f.name} has a name that every part needs for itself: call it otherwise"
    for name in {*dir(kind)} - {*dir(object)}:
        mine, wanted = getattr(cls, name), getattr(kind, name)
        if not name.startswith("_") and inspect.isfunction(mine) and mine is not wanted and not _accepts(mine, wanted):
            yield f"its {name}{inspect.signature(mine)} is called as {name}{inspect.signature(wanted)}"
    for live in built_by(cls) - built_by(kind):
        yield from _lacking(live, f"what {cls.__name__}.build returns")


def _lacking(cls: type, who: str) -> Iterator[str]:
    for name in sorted(getattr(cls, "__abstractmethods__", ())):
        wanted = inspect.getattr_static(cls, name)
        form = f"{name}{inspect.signature(wanted)}" if inspect.isfunction(wanted) else name
        yield f"{cls.__name__} lacks {form}, which {who} has"


def _accepts(mine: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """``mine`` can be called with all that ``wanted`` can."""
    own, asked = (list(inspect.signature(function).parameters.values()) for function in (mine, wanted))
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own):
        return True
    needed = [p.name for p in own if p.default is p.empty]
    return [p.name for p in own[: len(asked)]] == [p.name for p in asked] and len(needed) <= len(asked)


def built_by(cls: type) -> set[type]:
    """The classes that ``cls.build`` is annotated to return, where it says so."""
    try:
        found = typing.get_type_hints(getattr(cls, "build")).get("return")  # noqa: B009
    except (AttributeError, NameError, TypeError):
        return set()
    return {each for each in (found, *typing.get_args(found)) if isinstance(each, type)}
