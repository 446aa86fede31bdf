"""What a case in another process tells of its progress: a file in its folder."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from ddcore.files import PARTIAL
from ddcore.study.engine import PULSE


class Post:
    """A progress that is read elsewhere; the last word within a second is left out."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "progress.json"
        self._next = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PULSE
            written = self.path.with_name(f".{self.path.name}{PARTIAL}")
            with suppress(OSError):
                written.write_text(json.dumps([what, done, of]))
                written.replace(self.path)

    def read(self) -> tuple[str, int, int] | None:
        """What was told last, None where nothing was."""
        with suppress(OSError, ValueError):
            what, done, of = json.loads(self.path.read_text())
            return what, done, of
        return None
