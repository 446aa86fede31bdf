"""Bounds of numbers: what a field may hold. They are checked when a part is made, and printed by ``ddcore list``."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt, MinLen


@dataclass(frozen=True)
class Infinite:
    """The number may be infinite; without this mark every number is finite."""


@dataclass(frozen=True)
class NamesFile:
    """The text is the path of a file or folder that the part reads."""


FilePath = Annotated[str, NamesFile()]
Positive = Annotated[float, Gt(0)]
PositiveOrInfinite = Annotated[float, Gt(0), Infinite()]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
OpenShare = Annotated[float, Gt(0), Lt(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Number = Annotated[float, Ge(-math.inf)]
"""Any finite number."""
Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Layers = Annotated[int, Ge(1), Le(1000)]
"""How many layers of a kind stand one after another; each is made in turn, whatever its size."""

LIMIT = 2**63
"""Whole numbers lie below it, as seeds and sizes of tensors must."""

_HOLDS = {"above": operator.gt, "at least": operator.ge, "at most": operator.le, "below": operator.lt}
_SIGNS = {Gt: ("above", "gt"), Ge: ("at least", "ge"), Le: ("at most", "le"), Lt: ("below", "lt")}


def in_words(hint: Any) -> str:
    """The bounds of an annotation in words, such as ``at least 0 and below 1``; empty where it has none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is not Annotated:
        found = [words for argument in arguments if (words := in_words(argument))]
        return found[0] if found else ""
    words = [f"{sign} {limit}" for sign, limit in _limits(arguments[1:]) if limit != -math.inf]
    if any(isinstance(mark, MinLen) for mark in arguments[1:]):
        words.append("not empty")
    return " and ".join(words) or in_words(arguments[0])


def names_file(hint: Any) -> bool:
    """Whether an annotation says that the field is the path of a file."""
    return NamesFile() in getattr(hint, "__metadata__", ()) or any(map(names_file, typing.get_args(hint)))


def broken(name: str, value: Any, hint: Any) -> Iterator[str]:
    """Which bounds of ``hint`` the field ``name`` breaks with ``value``, in sentences."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        yield from broken(name, value, arguments[0])
        if value is not None and not _within(value, arguments[1:]):
            words = [_what_it_is_not(value, arguments[1:]), in_words(hint)]
            shown = f"{value!r}" if _fits(value) else f"{'-' if value < 0 else ''}2^{value.bit_length() - 1} or so"
            yield f"{name} = {shown}: it must be {' and '.join(filter(None, words))}"
    elif origin in (typing.Union, types.UnionType):
        if value is not None:
            for argument in arguments:
                yield from broken(name, value, argument)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{name} = {value!r}: it must be {' or '.join(map(repr, arguments))}"
    elif isinstance(value, Mapping) and len(arguments) == 2:
        for key, inner in value.items():
            yield from broken(f"{name}.{key}", inner, arguments[1])
    elif isinstance(value, list | tuple) and arguments:
        for inner in value:
            yield from broken(name, inner, arguments[0])


def _limits(marks: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return [
        (sign, getattr(mark, name)) for mark in marks for kind, (sign, name) in _SIGNS.items() if type(mark) is kind
    ]


def _what_it_is_not(value: Any, marks: tuple[Any, ...]) -> str:
    if not _fits(value):
        return "below 2^63"
    if not isinstance(value, float) or math.isfinite(value):
        return ""
    return "a number" if math.isnan(value) else "" if Infinite() in marks else "finite"


def _fits(value: Any) -> bool:
    """``value`` is no whole number that 64 bits do not hold."""
    return not isinstance(value, int) or -LIMIT <= value < LIMIT


def _within(value: Any, marks: tuple[Any, ...]) -> bool:
    if any(isinstance(mark, MinLen) and len(value) < mark.min_length for mark in marks):
        return False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    if not _fits(value):
        return False
    if math.isnan(value) or (math.isinf(value) and not any(isinstance(mark, Infinite) for mark in marks)):
        return False
    return all(_HOLDS[sign](value, limit) for sign, limit in _limits(marks))
