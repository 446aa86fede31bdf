"""What every part is held to, whatever its kind."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any

from ddcore.catalogue import Catalogue, contract_faults
from ddcore.errors import DdcoreError
from ddcore.packing import from_dict, parse_toml, to_toml
from ddcore.parts import Part, field_docs, field_types
from ddcore.testing.base import Check


@Check
def check_part(part: Part, catalogue: Catalogue | None = None) -> Iterator[str]:
    """Its class is whole and says what it is, each field has a docstring, each number has bounds, and a trip through
    TOML changes nothing. ``catalogue`` holds the parts within it; by default those installed."""
    yield from class_faults(type(part))
    yield from toml_faults(part, catalogue)


def class_faults(cls: type[Part]) -> Iterator[str]:
    yield from (f"{fault}." for fault in contract_faults(cls))
    if not inspect.cleandoc(vars(cls).get("__doc__") or "") or _generated(cls):
        yield f"{cls.__name__} has no docstring: say in a sentence what it is, which `ddcore list parts` shows."
    for f in fields(cls):
        if f.name not in field_docs(cls):
            yield f"{cls.__name__}.{f.name} has no docstring below it: say what it means, with its unit."
        if _unbounded(field_types(cls)[f.name]):
            yield (
                f"{cls.__name__}.{f.name} is a number without bounds: annotate it as dd.Count, dd.Positive, dd.Share or"
                " another of ddcore.bounds, or as ClassVar where it is no setting."
            )


def _generated(cls: type) -> bool:
    """Its docstring is the signature that a dataclass without one gets."""
    return str(cls.__doc__).startswith(f"{cls.__name__}(")


def _unbounded(hint: Any) -> bool:
    arguments = () if typing.get_origin(hint) is Annotated else typing.get_args(hint)
    return hint in (int, float) or any(_unbounded(argument) for argument in arguments)


def toml_faults(part: Part, catalogue: Catalogue | None = None) -> Iterator[str]:
    """What a trip through TOML changes of ``part``."""
    known = Catalogue() if catalogue is None else catalogue.copy()
    brought = [type(inner) for where, inner in part.within() if where]
    known.add(brought, "the part under test")
    try:
        again = from_dict(type(part), parse_toml(to_toml(part), "its TOML"), known)
    except (DdcoreError, TypeError, ValueError) as error:
        yield (
            f"{part} cannot be written as TOML and read again: {str(error).rstrip('.')}. Fields are numbers, texts,"
            " parts, tuples and dicts of them."
        )
        return
    if again != part:
        yield f"{part} is {again} after a trip through TOML: give its fields the types that they are annotated with."
