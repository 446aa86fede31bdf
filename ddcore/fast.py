"""Whether fast paths may be taken: each is exact up to rounding, and has a plain twin that tests compare it with.

``DDCORE_PLAIN=1`` in the environment turns all of them off, in this process and in those that it starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_allowed = ContextVar("allowed", default=os.environ.get("DDCORE_PLAIN", "0") in ("", "0"))


def fast() -> bool:
    """Fast paths may be taken here."""
    return _allowed.get()


@contextmanager
def fast_paths(allowed: bool) -> Iterator[None]:
    """Within it fast paths may be taken, or none."""
    before = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(before)
