"""Files that are whole or not there, in folders that one process holds at a time."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from filelock import FileLock, Timeout

from ddcore.errors import FolderHeld

PARTIAL = ".partial"
"""How the name of a file ends that is being written."""
LOCK = ".lock"


def write_whole(path: Path, data: bytes | memoryview, private: bool = False) -> Path:
    """Write ``data`` at ``path``, whole or not at all; as :func:`replaced_whole` does."""

    def fill(temporary: Path) -> None:
        temporary.write_bytes(data)

    return replaced_whole(path, fill, private)


def replaced_whole(path: Path, fill: Callable[[Path], None], private: bool = False) -> Path:
    """Let ``fill`` write a temporary file beside ``path``; once it is on disk it takes ``path``'s place in one move.

    With ``private`` nobody but the owner may read the file, or look into its folder.

    Raises:
        OSError: it names ``path``, where an old file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            path.parent.chmod(0o700)
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))
            fill(temporary)
            flush(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()
    return path


def check_target(path: Path) -> None:
    """Raises OSError, which names ``path``, where no file can be written there: said before the work, not after."""
    with naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with TemporaryFile(dir=next(folder for folder in path.absolute().parents if folder.exists())):
            pass


def append_line(path: Path, line: str) -> None:
    """Write ``line`` at the end of the file at ``path``. Raises OSError, which names it."""
    with naming(path), path.open("a") as file:
        file.write(f"{line}\n")


def flush(path: Path) -> None:
    """See to it that what was written at ``path`` outlives a power failure."""
    with naming(path), path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the file system name ``path``: that of a full disk names no file, others a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone, also against others that are killed; one that is not there is made.

    What a killed process left half written there and below is removed. A folder that was made is removed again where
    nothing has come into it.

    Raises:
        FolderHeld: another process holds it.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK)
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise FolderHeld(
                f"Another process is at work in {folder}. Wait until it has ended, or name another folder."
            ) from None
        for left in folder.rglob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):
            for place in made:
                place.rmdir()


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON that every reader takes: NaN and infinity, which it does not know, become null."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
