"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, data: bytes) -> Path:
    """Write ``data`` at ``path``, whole or not at all: a temporary file beside it, flushed, then renamed."""

    def fill(temporary: Path) -> None:
        temporary.write_bytes(data)

    return replaced_whole(path, fill)


def replaced_whole(path: Path, fill: Callable[[Path], None]) -> Path:
    """Let ``fill`` write a temporary file beside ``path``; then it takes ``path``'s place in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        fill(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
