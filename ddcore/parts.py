"""Parts: frozen values that say what is computed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from ddcore.types import Citation, DataCard


@dataclass(frozen=True)
class Part:
    """A plan: comparable, printable, replaceable, and the same again after a trip through TOML.

    A kind of part is a direct subclass that names itself (``class Carrier(Part, kind="carrier")``); the parts
    of that kind are its subclasses, known by their class name in snake case.
    """

    kind: ClassVar[str] = ""
    cites: ClassVar[tuple[Citation, ...]] = ()

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            cls.kind = kind

    @classmethod
    def part_name(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The parts it holds, each with the name of its field."""
        for f in fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Part):
                    yield f.name, part

    def papers(self) -> list[Citation]:
        """The papers of this part and of all that it holds, each once."""
        return list(dict.fromkeys([*self.cites, *(paper for _, part in self.parts() for paper in part.papers())]))

    @property
    def asks(self) -> frozenset[str]:
        """The disclosures that this part, or a part it holds, needs of the gate."""
        return frozenset().union(*(part.asks for _, part in self.parts()))

    def fitted(self, card: DataCard) -> Self:
        """This part, and the parts it holds, with all that was left to the data decided from the card."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: _fitted(value, card) for name, value in found.items()}
        return self if changed == found else replace(self, **changed)

    @property
    def itemwise(self) -> bool:
        """It handles each item of T by itself; what mixes items cannot pass a gate that clips single ones."""
        return all(part.itemwise for _, part in self.parts())


def _fitted(value: Any, card: DataCard) -> Any:
    if isinstance(value, tuple):
        return tuple(_fitted(v, card) for v in value)
    return value.fitted(card) if isinstance(value, Part) else value
