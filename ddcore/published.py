"""What papers report, to stand beside what is measured."""

from __future__ import annotations

import tomllib
from pathlib import Path

_READ = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def published_accuracy(method: str, data: str, ipc: int) -> float | None:
    """The test accuracy in percent that the paper of ``method``, or the survey, reports; None where none is known."""
    return _READ.get(method, {}).get(data, {}).get(str(ipc))
