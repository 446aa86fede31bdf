"""Parts to and from plain data: TOML, and single fields by dotted path."""

from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

from ddcore.bounds import broken, in_words
from ddcore.catalogue import Catalogue
from ddcore.errors import DdcoreError, RecipeRefused, UnknownName
from ddcore.parts import Part, field_docs, field_types

NONE = {"none": True}
"""How TOML, which has no null, writes a None that is not the field's default."""
DEEPEST = 20
"""Tables and lists in one another that a recipe may have."""
VALUE = "value"
T = TypeVar("T", bound=Part)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


@dataclass(frozen=True)
class FieldCard:
    """What a person may know of one field of a part."""

    field: str
    type: str
    default: str
    """As ``--set`` reads it; empty where one must be given."""
    bounds: str
    meaning: str


def field_cards(cls: type[Part]) -> list[FieldCard]:
    """A card for each field of ``cls``."""
    hints, docs = field_types(cls), field_docs(cls)
    found = [(f.name, hints[f.name], _default(f)) for f in fields(cls)]
    return [
        FieldCard(name, _type(hint), "" if value is MISSING else _written(value), in_words(hint), docs.get(name, ""))
        for name, hint, value in found
    ]


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join("none" if a is type(None) else _type(a) for a in arguments)
    if origin is typing.Literal:
        return " | ".join(json.dumps(a) for a in arguments)
    if origin is not None:
        return (
            f"{'table' if issubclass(origin, Mapping) else 'list'} of {_type(arguments[-1 if origin is dict else 0])}"
        )
    return hint.kind if _is_part(hint) else getattr(hint, "__name__", str(hint))


def _written(value: Any) -> str:
    """``value`` on one line, as ``--set`` reads it."""
    if value is None:
        return "none"
    if isinstance(value, Part) or (isinstance(value, tuple) and any(isinstance(v, Part) for v in value)):
        return ", ".join(v.part_name() for v in (value if isinstance(value, tuple) else (value,)))
    return json.dumps(packed(value))


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def packed(value: Any) -> Any:
    """``value`` as plain data that TOML can write, the parts in it as tables with their names."""
    if value is None:
        return dict(NONE)
    if isinstance(value, Part):
        return {"name": type(value).part_name(), **to_dict(value)}
    if isinstance(value, Mapping):
        return {str(k): packed(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [packed(v) for v in value]
    return value


def to_dict(part: Part) -> dict[str, Any]:
    """The part's fields as plain data that TOML can write: a None that is the default is left out."""
    return {
        f.name: packed(getattr(part, f.name))
        for f in fields(part)
        if not (getattr(part, f.name) is None and _default(f) is None)
    }


def _unpack(annotation: Any, value: Any, where: str, catalogue: Catalogue) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _unpack(arguments[0], value, where, catalogue)
    if origin in (typing.Union, types.UnionType):
        rest = tuple(a for a in arguments if a is not type(None))
        if len(rest) < len(arguments) and (value == NONE or (value == "none" and str not in rest)):
            return None
        if len(rest) == 1:
            return _unpack(rest[0], value, where, catalogue)
    if _is_part(annotation):
        return _unpack_part(annotation, {"name": value} if isinstance(value, str) else value, where, catalogue)
    if origin is tuple and arguments and _is_part(arguments[0]):
        if not isinstance(value, list):
            raise RecipeRefused(f'{where} must be a list of names or tables, such as [{{name="..."}}], not {value!r}.')
        return tuple(_unpack(arguments[0], v, f"{where}[{i}]", catalogue) for i, v in enumerate(value))
    try:
        return TypeAdapter(_bare(annotation)).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        said = "; ".join(e["msg"] for e in error.errors())
    except TypeError as error:
        said = str(error)
    raise RecipeRefused(f"{where} = {value!r} is not usable: {said}.")


def _unpack_part(kind: type[Part], value: Any, where: str, catalogue: Catalogue) -> Part:
    """The part that a table describes. What a function makes, such as a protocol's preset, has the table's fields."""
    if not isinstance(value, Mapping):
        raise RecipeRefused(
            f"{where} must be a table that names a part of the kind {kind.kind}, as {where}.name does, or the name"
            f" alone, not {value!r}."
        )
    table, final = dict(value), Part not in kind.__bases__
    name = table.pop("name", kind.part_name() if final else None)
    if name is None:
        raise RecipeRefused(f'{where} lacks its name = "...": which {kind.kind} is it?')
    if not isinstance(name, str):
        raise RecipeRefused(f'{where}.name = {name!r} is no text: write name = "...", with the name of a {kind.kind}.')
    maker = kind if final and name == kind.part_name() else catalogue.find(kind.kind, name).maker
    if isinstance(maker, type):
        return from_dict(maker, table, catalogue, where)
    made = maker()
    return from_dict(type(made), {**to_dict(made), **table}, catalogue, where)


def _bare(annotation: Any) -> Any:
    """``annotation`` without its bounds, which are checked apart, in words of our own."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_bare(a) for a in arguments)]  # noqa: UP007
    bare: Any = origin
    return bare[tuple(_bare(a) for a in arguments)] if origin in (tuple, dict, list) else annotation


def from_dict(cls: type[T], table: Mapping[str, Any], catalogue: Catalogue, where: str = "") -> T:
    """The part of class ``cls`` that ``table`` describes.

    Raises:
        RecipeRefused: a field that does not exist, is missing, or has the wrong type.
        UnknownName: a nested part that no distribution brings.
    """
    if not isinstance(table, Mapping):
        raise RecipeRefused(f"{where or cls.part_name()} must be a table, with a line for each field, not {table!r}.")
    hints = field_types(cls)
    names = {f.name for f in fields(cls)}
    values = {}
    for key, value in table.items():
        if key not in names:
            raise RecipeRefused(str(UnknownName(f"field of {where or cls.part_name()}", key, names)))
        path = f"{where}.{key}".lstrip(".")
        values[key] = _unpack(hints[key], value, path, catalogue)
        for sentence in broken(path, values[key], hints[key]):
            raise RecipeRefused(f"{sentence}.")
    missing = [f.name for f in fields(cls) if f.name not in values and _default(f) is MISSING]
    if missing:
        raise RecipeRefused(f"{where or cls.part_name()} lacks {', '.join(missing)}.")
    try:
        return cls(**values)
    except DdcoreError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeRefused(f"{where or cls.part_name()}: {error}.") from error


def overridden(part: T, changes: Mapping[str, Any], catalogue: Catalogue) -> T:
    """``part`` with the fields at the dotted paths of ``changes`` set; text is read as a TOML value where it is one.

    Another ``name`` is another part: it begins with its own defaults. A text in the place of a part is its name.

    Raises:
        RecipeRefused: a field that does not exist or cannot have that value.
    """
    table = to_dict(part)
    outer_first = sorted(changes.items(), key=lambda change: (change[0].count("."), not change[0].endswith("name")))
    for path, value in outer_first:
        *way, last = path.split(".")
        below = table
        for i, name in enumerate(way):
            if isinstance(below.setdefault(name, {}), str):
                below[name] = {"name": below[name]}
            below = below[name]
            if not isinstance(below, dict):
                raise RecipeRefused(f"{path} cannot be set: nothing lies below {'.'.join(way[: i + 1])}.")
        new = read_value(value, path) if isinstance(value, str) else packed(value)
        held = below.get(last)
        if isinstance(held, dict) and "name" in held and held["name"] == new:
            continue
        if way and last == "name" and held != new:
            below.clear()
        below[last] = new
    return from_dict(type(part), table, catalogue)


def dotted(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values that lie in ``table`` and in the tables within it, by dotted path."""
    found = {}
    for name, value in table.items():
        found |= dotted(value, f"{above}{name}.") if isinstance(value, Mapping) else {above + name: value}
    return found


def read_value(text: str, where: str) -> Any:
    """``text`` as the TOML value that it is, or else itself.

    Raises:
        RecipeRefused: it is a value that no field can hold.
    """
    try:
        table = tomllib.loads(f"{VALUE} = {text}")
    except (ValueError, RecursionError):
        return _usable(text, where)
    return _usable(table[VALUE] if len(table) == 1 else text, where)


def to_toml(part: Part) -> str:
    return tomli_w.dumps(to_dict(part))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table that ``text`` is, with values that fields can hold.

    Raises:
        RecipeRefused: the text is not TOML, with the line; or it has a value that no field can hold, with its path.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeRefused(f"{where} is not TOML: {error}.") from error
    return {name: _usable(value, name) for name, value in table.items()}


def read_toml(path: Path) -> str:
    """The text of a TOML file. Raises RecipeRefused where it is not UTF-8, OSError where it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeRefused(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8.") from error


def _usable(value: Any, where: str, depth: int = 0) -> Any:
    """``value``, once it is known that fields can hold all within it.

    Raises:
        RecipeRefused: dates and times, whole numbers beyond 64 bits, texts with a null character, and tables or lists
            that stand too deep in one another, each with its dotted path.
    """
    if depth > DEEPEST:
        raise RecipeRefused(f"{where} lies more than {DEEPEST} tables or lists deep: no recipe is made so.")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _usable(name, f"the name of a field of {where}")
            _usable(inner, f"{where}.{name}", depth + 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _usable(inner, f"{where}[{i}]", depth + 1)
    elif isinstance(value, date | time):
        raise RecipeRefused(f'{where} = {value} is a date or a time, which no field holds: write "{value}" for a text.')
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise RecipeRefused(f"{where} is a whole number beyond 64 bits: it must be below 2^63.")
    elif isinstance(value, str) and "\0" in value:
        raise RecipeRefused(f"{where} holds a null character: remove it.")
    return value
