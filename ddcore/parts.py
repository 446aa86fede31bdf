"""Parts: frozen values that say what is computed."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
import typing
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Self

from ddcore.bounds import broken, names_file
from ddcore.errors import RecipeRefused
from ddcore.types import Citation, DataCard, Network


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True)
class Part(ABC):
    """A plan: comparable, printable, replaceable, and the same again after a trip through TOML.

    A kind of part is a direct subclass that names itself (``class Carrier(Part, kind="carrier")``); the parts
    of that kind are its subclasses, known by their class name in snake case or by what the
    class line says (``class ConvNet(NetworkPlan, name="convnet")``). A part is abstract or final: what a kind
    leaves abstract is there when a part is announced, and a part that alters another one holds it.

    Each field has a docstring, and bounds where it has bounds (:mod:`ddcore.bounds`).
    """

    kind: ClassVar[str] = ""
    _called: ClassVar[str] = "part"
    cites: ClassVar[tuple[Citation, ...]] = ()
    suits: ClassVar[frozenset[str] | None] = None
    """The kinds of items it can take (``image``, ``vector``, ``signal``, ``video`` ...), None for any."""
    classes_only: ClassVar[bool] = False
    """It needs classes, and can do nothing with targets that are values."""
    values_only: ClassVar[bool] = False
    """It needs values, and can do nothing with classes."""
    image_fields: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields that only images can have, each with the value that leaves it out."""

    def __init_subclass__(cls, kind: str | None = None, name: str | None = None, **kwargs: Any) -> None:
        """``name``: what the part is called, where that is not its class name in snake case."""
        super().__init_subclass__(**kwargs)
        cls._called = name or snake_case(cls.__name__)
        if kind is not None:
            cls.kind = kind

    def __post_init__(self) -> None:
        """Raises RecipeRefused where a field holds no such part, breaks its bounds, or :meth:`faults` finds one."""
        hints = field_types(type(self))
        called = self.kind if self.kind == self.part_name() else f"{self.kind} {self.part_name()}"
        for f in fields(self):
            if not _fits(getattr(self, f.name), hints[f.name]):
                said = f"{f.name} = {getattr(self, f.name)!r} is no part of the kind that belongs there"
                raise RecipeRefused(f"{said} ({called}).")
            for sentence in broken(f.name, getattr(self, f.name), hints[f.name]):
                raise RecipeRefused(f"{sentence} ({called}).")
        for sentence in self.faults():
            raise RecipeRefused(f"{sentence.rstrip('.')} ({called}).")

    def faults(self) -> Iterator[str]:
        """Which fields do not go together, in sentences; nothing by default."""
        return iter(())

    @classmethod
    def part_name(cls) -> str:
        return cls._called

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The parts it holds, each with the name of its field."""
        for f in fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Part):
                    yield f.name, part

    def within(self, where: str = "") -> Iterator[tuple[str, Part]]:
        """All parts within it, however deep, each with its dotted path, this one first."""
        yield where, self
        for name, part in self.parts():
            yield from part.within(f"{where}.{name}" if where else name)

    def files(self, where: str = "") -> Iterator[str]:
        """The fields, by dotted path, that have it or a part within it read a file."""
        for path, part in self.within(where):
            for name, hint in field_types(type(part)).items():
                if getattr(part, name, None) is not None and names_file(hint):
                    yield f"{path}.{name}" if path else name

    def papers(self) -> list[Citation]:
        """The papers of this part and of all that it holds, each once."""
        return list(dict.fromkeys([*self.cites, *(paper for _, part in self.parts() for paper in part.papers())]))

    @property
    def asks(self) -> frozenset[str]:
        """The disclosures that this part, or a part it holds, needs of the gate."""
        return frozenset().union(*(part.asks for _, part in self.parts()))

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of the other parts, by names such as ``target``; those it holds speak for themselves."""
        return frozenset()

    @property
    def gives(self) -> frozenset[str]:
        """What it gives to the other parts, by the same names."""
        return frozenset()

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        """Refuse what else can be known before the run. Called of every part of a ``recipe``.

        Raises:
            RecipeRefused: it does not go with the rest of ``recipe``, the data of ``card``, or the built ``network``.
        """

    def fitted(self, card: DataCard) -> Self:
        """This part, and the parts it holds, with all that was left to the data decided from the card."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: _fitted(value, card) for name, value in found.items()}
        return self if changed == found else replace(self, **changed)

    @property
    def itemwise(self) -> bool:
        """It handles each item of T by itself; what mixes items cannot pass a gate that clips single ones."""
        return all(part.itemwise for _, part in self.parts())


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is a part, or are parts, as ``hint`` says; true where it asks for none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple and isinstance(arguments[0], type) and issubclass(arguments[0], Part):
        return isinstance(value, tuple) and all(_fits(v, arguments[0]) for v in value)
    if isinstance(hint, type) and issubclass(hint, Part):
        return isinstance(value, hint)
    return hint is not types.NoneType or value is None


def _fitted(value: Any, card: DataCard) -> Any:
    if isinstance(value, tuple):
        return tuple(_fitted(v, card) for v in value)
    return value.fitted(card) if isinstance(value, Part) else value


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The annotation of each field of ``cls``, with its bounds."""
    return typing.get_type_hints(cls, include_extras=True)


@cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring of each field of ``cls`` that has one, its own or an ancestor's."""
    found: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        if not (issubclass(ancestor, Part) and "__annotations__" in vars(ancestor)):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body
        statements = typing.cast(ast.ClassDef, body).body
        for field, said in pairwise(statements):
            if not (isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr)):
                continue
            if isinstance(said.value, ast.Constant) and isinstance(said.value.value, str):
                found[ast.unparse(field.target)] = inspect.cleandoc(said.value.value)
    return found
