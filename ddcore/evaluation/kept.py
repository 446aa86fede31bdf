"""What was measured of trained nets, kept so that no net is trained twice for one number."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ddcore.files import json_bytes, write_whole

VARIABLE = "DDCORE_CACHE"
"""The environment variable that names the folder; empty to keep nothing."""

_VALUES = TypeAdapter(dict[int, float | None])


def cache_folder() -> Path | None:
    """Where measured values are kept for later experiments; None where nothing is to be kept."""
    if (told := os.environ.get(VARIABLE)) is not None:
        return Path(told).expanduser() if told else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddcore"


@dataclass(frozen=True)
class Kept:
    """Values of trained nets, in files of a folder: each file is named by a hash of all that its values follow from."""

    folder: Path | None
    """None: nothing is read or kept."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the nets follow from, as JSON has it."""
    read: set[tuple[str, int]] = field(default_factory=set)
    """The nets, by what they follow from and their number, of which a value was read; those of :meth:`also` are among
    them."""

    def also(self, **given: Any) -> Kept:
        """The values of nets that follow from ``given`` besides."""
        return replace(self, given={**self.given, **given})

    def values(
        self, nets: Sequence[int], asked: Callable[[], Mapping[str, Any]], found: Callable[[], list[float]]
    ) -> list[float]:
        """One value per net: as it was kept, if it was of all of ``nets``, else as it is ``found``, which is then kept.

        ``asked`` says what is measured of them, and on what.
        """
        path = self._path(asked)
        if path is None:
            return found()
        known = _known(path)
        if all(net in known for net in nets):
            self.read.update((_hashed(self.given), net) for net in nets)
            return [known[net] for net in nets]
        values = found()
        with suppress(OSError):  # a folder that cannot be written costs the next evaluation time, and this one nothing
            write_whole(path, json_bytes({**known, **dict(zip(nets, values, strict=True))}))
        return values

    def _path(self, asked: Callable[[], Mapping[str, Any]]) -> Path | None:
        if self.folder is None:
            return None
        try:
            return self.folder / "nets" / f"{_hashed({**self.given, 'asked': asked()})}.json"
        except TypeError:  # they follow from something that only a program can hold
            return None


def _hashed(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _known(path: Path) -> dict[int, float]:
    try:
        found = _VALUES.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
    return {number: float("nan") if value is None else value for number, value in found.items()}


def code_of(modules: Mapping[str, ModuleType]) -> str | None:
    """A hash of the source of ``modules`` and of all that lies in their packages; None where one has no file."""
    digest = hashlib.sha256()
    for name, module in sorted(modules.items()):
        if module.__file__ is None:
            return None
        file = Path(module.__file__)
        for path in sorted(file.parent.rglob("*.py")) if hasattr(module, "__path__") else [file]:
            digest.update(f"{name} {path.name}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
