"""Parts in one line: what tells several of them apart, and how a person writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from ddcore.catalogue import Catalogue
from ddcore.errors import RecipeRefused
from ddcore.packing import NONE, from_dict, read_value, to_dict
from ddcore.parts import Part

P = TypeVar("P", bound=Part)
OPEN, CLOSED = "([{", ")]}"


def labels(parts: Sequence[Part]) -> list[str]:
    """What tells each of ``parts`` apart: its name where it has that alone, else with the fields that differ."""
    return table_labels([{"name": part.part_name(), **to_dict(part)} for part in parts])


def table_labels(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same of parts as plain tables; tables that are equal have one label."""
    found = []
    for table in tables:
        alike = [other for other in tables if other.get("name") == table.get("name")]
        fields = dict.fromkeys(field for other in alike for field in other if field != "name")
        differing = [field for field in fields if any(other.get(field) != table.get(field) for other in alike)]
        found.append(in_line({"name": table.get("name"), **{field: table.get(field) for field in differing}}))
    return found


def in_line(value: Any) -> str:
    """Plain data as a person writes them: a part is ``convnet(width=64, norm=batch)``."""
    if value is None or value == NONE:
        return "none"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{field}={in_line(v)}" for field, v in value.items() if field != "name")
        return f"{value.get('name', '')}({inner})" if inner or "name" not in value else str(value["name"])
    if isinstance(value, list | tuple):
        return f"[{', '.join(in_line(v) for v in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def parse_parts(text: str, where: str) -> list[dict[str, Any]]:
    """Tables of the parts that ``text`` lists: ``mlp,convnet(width=64, norm=batch)``; values are as ``--set`` has them.

    Raises:
        RecipeRefused: ``text`` is not such a list.
    """
    found = []
    for item in _pieces(text, where):
        name, bracket, inside = item.partition("(")
        if not name.strip().isidentifier() or (bracket and not inside.endswith(")")):
            raise RecipeRefused(f"{where}: {item!r} is no part. Write names, such as convnet(width=64),mlp.")
        fields = {}
        for pair in _pieces(inside[:-1], where) if inside[:-1].strip() else ():
            field, sign, value = pair.partition("=")
            if not sign:
                raise RecipeRefused(f"{where}: {pair!r} in {item!r} is no field. Write FIELD=VALUE, such as width=64.")
            fields[field.strip()] = read_value(value.strip(), where)
        found.append({"name": name.strip(), **fields})
    return found


def part_named(kind: type[P], text: str, catalogue: Catalogue, where: str) -> P:
    """The one part of the ``kind`` that ``text`` names as a person writes it: ``zca(eps=0.1)``.

    Raises:
        RecipeRefused, UnknownName: it names none, or another number of them.
    """
    tables = parse_parts(text, where)
    if len(tables) != 1:
        raise RecipeRefused(f"{where}: {text!r} names {len(tables)} parts. Name one.")
    name = tables[0].pop("name")
    return from_dict(cast(type[P], catalogue.find(kind.kind, name).maker), tables[0], catalogue, where)


def _pieces(text: str, where: str) -> Iterable[str]:
    """``text`` cut at the commas that stand in no brackets."""
    depth, start, pieces = 0, 0, []
    for i, sign in enumerate(text):
        depth += (sign in OPEN) - (sign in CLOSED)
        if depth < 0:
            break
        if sign == "," and not depth:
            pieces.append(text[start:i])
            start = i + 1
    if depth:
        raise RecipeRefused(f"{where}: the brackets of {text!r} do not match.")
    return [piece.strip() for piece in (*pieces, text[start:])]
