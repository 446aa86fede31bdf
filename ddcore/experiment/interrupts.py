"""Ctrl-C and SIGTERM, which a run answers where it can go on from."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ddcore.ranks import ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WAITING = b"\nStopping when this step is done. Once more stops at once, and the step is lost.\n"


class Interrupts:
    """Signals that ask the process to end and wait for an answer.

    The first one waits; the second is answered at once, but where several processes share the run: torchrun hands each
    of them a Ctrl-C twice. The answer is what the process does with the signal anyway: it raises KeyboardInterrupt, or
    ends, or whatever its own handler does.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came: int | None = None

    @property
    def waiting(self) -> bool:
        """One has come, and wants an answer."""
        return self._came is not None

    @contextmanager
    def held_back(self, while_: Callable[[], bool]) -> Iterator[None]:
        """Within this context signals wait ``while_`` it says so; what still waits in the end is answered there.

        Outside the main thread, where no signal arrives, and where the process ignores them, nothing changes.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            again, self._came = self.waiting and ranks().count == 1, number
            if again or not while_():
                self.answer()
            elif os.isatty(2):
                os.write(2, WAITING)  # a print may be what was interrupted

        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {n: before for n, before in handlers.items() if before not in (signal.SIG_IGN, None)}
        for number in self._before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            self._restore()
        self.answer()

    def answer(self) -> None:
        """Let the signal that waits do what it does, if there is one."""
        if self._came is not None:
            number, self._came = self._came, None
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
