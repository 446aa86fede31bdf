"""What the tests of a plugin may ask of its parts: the rules that the core's own parts keep."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any

from ddcore.catalogue import Catalogue, contract_faults
from ddcore.packing import from_dict, to_dict
from ddcore.parts import Part, field_docs, field_types


def part_faults(part: Part, catalogue: Catalogue) -> Iterator[str]:
    """What ``part`` breaks of the contract, in sentences: ``assert not list(part_faults(MyView(), Host().catalogue))``.

    Its class is whole, each field has a docstring, each number has bounds, and a trip through TOML changes nothing.
    """
    cls = type(part)
    yield from contract_faults(cls)
    for f in fields(part):
        if f.name not in field_docs(cls):
            yield f"{cls.__name__}.{f.name} has no docstring below it"
        if _unbounded(field_types(cls)[f.name]):
            yield f"{cls.__name__}.{f.name} is a number without bounds: see ddcore.bounds"
    if from_dict(cls, to_dict(part), catalogue) != part:
        yield f"{part} is another one after a trip through TOML"


def _unbounded(hint: Any) -> bool:
    arguments = () if typing.get_origin(hint) is Annotated else typing.get_args(hint)
    return hint in (int, float) or any(_unbounded(argument) for argument in arguments)
