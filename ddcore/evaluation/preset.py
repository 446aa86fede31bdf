"""Presets: protocols with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from ddcore.catalogue import Catalogue
from ddcore.evaluation.protocol import Protocol
from ddcore.types import Citation

F = TypeVar("F", bound=Callable[[], Protocol])


def preset(*cites: Citation, on: Mapping[str, Callable[[], Protocol]] = MappingProxyType({})) -> Callable[[F], F]:
    """Mark a function that returns a protocol as a preset, with its papers; its docstring describes it.

    ``on``: the presets that are meant by its name on some data, by the data's name.
    """

    def mark(function: F) -> F:
        function.kind = "protocol"  # type: ignore[attr-defined]
        function.cites = cites  # type: ignore[attr-defined]
        function.on = {name: other.__name__ for name, other in on.items()}  # type: ignore[attr-defined]
        return function

    return mark


def preset_on(name: str, data: str, catalogue: Catalogue) -> str:
    """The preset that is meant by ``name`` on the data of the name ``data``. Raises UnknownName: no such preset."""
    maker = catalogue.find("protocol", name).maker
    return getattr(maker, "on", {}).get(data, name)
