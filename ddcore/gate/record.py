"""The durable record of what a guarding gate has told."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from ddcore.errors import BadCheckpoint
from ddcore.files import write_whole
from ddcore.ranks import ranks

TOLD_STAYS_TOLD = (
    "What a private run has told stays told, so it cannot begin anew here: name a new folder for a further release,"
    " whose epsilon adds to that of this one."
)


@dataclass(frozen=True)
class Told:
    """One answer that has left a gate."""

    request: str
    """Hash of what was asked."""
    answer: str
    """Hash of the answer."""
    spent: dict[str, Any]
    """The gate's ledger with this answer counted."""


class SpendRecord:
    """What a guarding gate has told, a line of JSON per request, in a file that only grows.

    A line is on disk before its answer leaves the gate. Each is sealed by a hash of itself and of the line before, so
    that none can be changed, moved or left out. The first names the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = ""
        """The run whose record it is; empty until :meth:`begin` or :meth:`read`."""
        self.count = 0
        """Requests on record."""
        self.spent: dict[str, Any] = {}
        """The ledger of the last of them."""
        self._seal = ""

    @property
    def holds_requests(self) -> bool:
        """Some run, whichever, has told something in this folder."""
        return self.path.exists() and self.path.read_bytes().count(b"\n") > 1

    def begin(self) -> None:
        """Begin the record of a new run."""
        self.run, self.count, self.spent = uuid4().hex, 0, {}
        line, self._seal = _sealed({"number": 0, "run": self.run}, "")
        write_whole(self.path, line)

    def append(self, told: Told) -> None:
        """Write ``told`` to the disk, once for all processes that share the run; what raises has not been told."""
        line, seal = _sealed({"number": self.count + 1, **asdict(told)}, self._seal)
        if ranks().first:
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND), "wb") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        ranks().wait()
        self.count, self.spent, self._seal = self.count + 1, told.spent, seal

    def read(self) -> None:
        """Take up the record of a run that stopped; a line that was being written then was not told, and is cut off.

        Raises:
            BadCheckpoint: it is missing, or damaged.
        """
        if not self.path.exists():
            raise BadCheckpoint(
                f"{self.path}, the record of what this private run has told, is missing. {TOLD_STAYS_TOLD}"
            )
        head, last, whole = {}, {}, 0
        for entry, end in self._lines():
            head, last, whole = head or entry, entry, end
        if "run" not in head:
            raise self._damaged(1)
        self.run, self.count, self.spent = head["run"], last["number"], last.get("spent", {})
        self._seal = last["seal"]
        os.truncate(self.path, whole)

    def after(self, number: int) -> list[Told]:
        """What was told after the first ``number`` requests."""
        entries = (entry for entry, _ in islice(self._lines(), number + 1, None))
        return [Told(**{f.name: entry[f.name] for f in fields(Told)}) for entry in entries]

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """What stands in each whole line, and the bytes up to its end."""
        seal, end = "", 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                entry = _opened(line, seal)
                if not line.endswith(b"\n") and _opened(line[:-1], seal) is None:
                    return
                if not line.endswith(b"\n") or entry is None or entry.get("number") != number:
                    raise self._damaged(number + 1)
                seal, end = entry["seal"], end + len(line)
                yield entry, end

    def _damaged(self, line: int) -> BadCheckpoint:
        return BadCheckpoint(
            f"{self.path}, the record of what this private run has told, is damaged in line {line}. {TOLD_STAYS_TOLD}"
        )


def _seal_of(entry: dict[str, Any], before: str) -> str:
    return hashlib.sha256((before + json.dumps(entry)).encode()).hexdigest()


def _sealed(entry: dict[str, Any], before: str) -> tuple[bytes, str]:
    seal = _seal_of(entry, before)
    return (json.dumps({**entry, "seal": seal}) + "\n").encode(), seal


def _opened(line: bytes, before: str) -> dict[str, Any] | None:
    """What stands in ``line``; None where it is not as it was written after the line with the seal ``before``."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    bare = {name: value for name, value in entry.items() if name != "seal"}
    return entry if entry.get("seal") == _seal_of(bare, before) else None


def digest(*values: Any) -> str:
    """A hash of tensors, parts, numbers and strings, however nested; of anything else its type or name counts."""
    hashed = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            hashed.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
            hashed.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
        elif is_dataclass(value) and not isinstance(value, type):
            hashed.update(type(value).__qualname__.encode())
            feed({f.name: getattr(value, f.name) for f in fields(value)})
        elif isinstance(value, dict):
            feed(list(value.items()))
        elif isinstance(value, list | tuple):
            hashed.update(f"[{len(value)}".encode())
            for one in value:
                feed(one)
        elif value is None or isinstance(value, str | bool | int | float):
            hashed.update(f"{type(value).__name__} {value!r};".encode())
        else:
            hashed.update(getattr(value, "__qualname__", type(value).__qualname__).encode())

    feed(values)
    return hashed.hexdigest()
