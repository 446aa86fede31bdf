"""Workers that are processes of this machine, by the loky that comes with joblib."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from ddcore.study.engine import Parallel, Pool

PAUSE = 0.5
"""Seconds between two looks of a worker for the process that started it."""


@dataclass(frozen=True)
class Loky(Parallel):
    """Side by side in processes of this machine."""

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        processes = [_Process() for _ in range(workers)]

        def submit(call: Callable[[], Any]) -> Future[Any]:
            return next(process for process in processes if process.free).submit(call)

        try:
            yield Pool(submit, (BrokenProcessPool,))
        finally:
            for process in processes:
                process.executor.shutdown(kill_workers=True)


class _Process:
    """A process, and after its death another: where one dies of several in an executor, all are ended."""

    def __init__(self) -> None:
        self.executor = _started()
        self._last: Future[Any] | None = None

    @property
    def free(self) -> bool:
        return self._last is None or self._last.done()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        if self._last and isinstance(self._last.exception(), BrokenProcessPool):
            self.executor.shutdown(kill_workers=True)
            self.executor = _started()
        self._last = self.executor.submit(call)
        return self._last


def _started() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, initializer=_end_with, initargs=(os.getpid(),))


def _end_with(parent: int) -> None:
    """Have this process end when ``parent`` has, even killed: it would go on in a folder that another run may take."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
