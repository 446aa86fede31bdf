"""The catalogue: parts and methods by kind and name."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ddcore.errors import PluginBroken, UnknownName
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
            PluginBroken: two different makers claim one name.
        """
        entries = dict(self._entries)
        for maker in makers:
            kind = getattr(maker, "kind", "")
            if not kind:
                raise PluginBroken(f"{distribution} announces {maker!r}, which is neither a part nor a method.")
            entry = Entry(maker, kind, name_of(maker), distribution)
            held = entries.setdefault((kind, entry.name), entry)
            if held.maker is not maker:
                raise PluginBroken(f"{held.distribution} and {distribution} both bring a {kind} named {entry.name!r}.")
        self._entries = entries

    def find(self, kind: str, name: str) -> Entry:
        """Raises UnknownName, with the near names."""
        try:
            return self._entries[kind, name]
        except KeyError:
            raise UnknownName(kind, name, (e.name for e in self.of(kind))) from None

    def of(self, kind: str) -> list[Entry]:
        return sorted((e for e in self._entries.values() if e.kind == kind), key=lambda e: e.name)

    def __iter__(self) -> typing.Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda e: (e.kind, e.name)))
