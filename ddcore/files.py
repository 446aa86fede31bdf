"""Files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


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


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON that every reader takes: NaN and infinity, which it does not know, become null."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
