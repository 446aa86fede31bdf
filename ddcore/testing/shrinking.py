"""Parts small enough for a test."""

from __future__ import annotations

import typing
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from ddcore.errors import DdcoreError, RecipeRefused
from ddcore.gate.fit import Fit
from ddcore.objectives.features import FeatureMatch
from ddcore.parts import Part, field_types
from ddcore.policies.fresh import Fresh

P = TypeVar("P", bound=Part)

SMALL = {
    **{"steps": 2, "epochs": 1, "real": 4, "batch": 4, "rounds": 1, "networks": 2, "experts": 1, "pool": 8, "age": 2},
    **{"last": 1, "span": 1, "snapshots": 4, "tries": 2, "crops": 2, "width": 4, "depth": 2, "bases": 2, "scale": 2},
    **{"factor": 2, "most": 4, "requests": 4, "signals": 2, "channels": 2, "encoder": 4, "window": 2, "first": 0},
    **{"repeats": 2, "size": 9, "iterations": 4},
}
"""The largest value, in a test, of the fields of these names."""
WITHIN = {"objective": FeatureMatch(real=4), "policy": Fresh()}
"""What stands within a part that holds one of its own kind."""


def smaller(part: P) -> P:
    """``part`` and all that it holds, with whole numbers that cost time as small as they come."""
    changed: dict[str, Any] = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, Fit):
            changed[f.name] = replace(value, epochs=None, steps=4, batch=4, snapshots=4 if value.snapshots > 1 else 1)
        elif isinstance(value, Part):
            changed[f.name] = smaller(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Part):
            changed[f.name] = tuple(map(smaller, value))
        elif f.name in SMALL and isinstance(value, int) and not isinstance(value, bool):
            changed[f.name] = min(value, SMALL[f.name])
    try:
        return replace(part, **changed)
    except RecipeRefused:
        return part


def sample(cls: type[P]) -> P:
    """A part of the class, by its defaults; fields without one hold something simple of their type.

    Raises:
        RecipeRefused: none can be made so.
    """
    if not is_dataclass(cls):
        return cls()
    given = {
        f.name: _simple(field_types(cls)[f.name])
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING
    }
    try:
        return cast(P, cls(**given))
    except RecipeRefused:
        sizes = {f.name: SMALL[f.name] for f in fields(cls) if f.name in SMALL and f.name not in given}
        try:
            return cast(P, cls(**given, **sizes))
        except (DdcoreError, TypeError):
            pass
        raise


def _simple(hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return (_simple(arguments[0]),)
    if origin is typing.Annotated:
        return _simple(arguments[0])
    if isinstance(hint, type) and issubclass(hint, Part):
        return WITHIN[hint.kind] if hint.kind in WITHIN else hint()
    return hint(1)
