"""Where the cases of a study run: one after another here, or side by side on workers that may die."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from joblib import cpu_count

from ddcore.bounds import Count
from ddcore.parts import Part
from ddcore.types import Progress

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, Progress | None], R]

LIVES = 3
"""How often an item is begun that takes its worker with it."""
PULSE = 1.0
"""Seconds between two looks at the items that are at work."""
DIED = f"Each of the {LIVES} workers that it was given died: it was killed, or there was no memory left"


@dataclass(frozen=True)
class Failure:
    """Why an item did not come to its end."""

    reason: str
    trace: str = ""


class Engine(Part, kind="engine"):
    """What calls a function of many items; no item waits for what comes out of another."""

    def ready(self) -> None:
        """Raises RecipeRefused where something that it needs is not installed."""

    @abstractmethod
    def each(
        self,
        work: Work[T, R],
        items: Sequence[T],
        told: Callable[[T], Progress],
        heard: Callable[[T], None],
    ) -> Generator[tuple[T, R | Failure], None, None]:
        """Each item with ``work`` of it, in the order in which they end.

        ``told(item)`` is the progress of an item in this process. Of one in another, ``work`` is given no progress:
        ``heard(item)`` is called from time to time while it is at work.
        What is raised ends it all: ``work`` answers its own failures.
        """


@dataclass(frozen=True)
class Local(Engine):
    """One after another, in this process."""

    def each(
        self,
        work: Work[T, R],
        items: Sequence[T],
        told: Callable[[T], Progress],
        heard: Callable[[T], None],
    ) -> Generator[tuple[T, R | Failure], None, None]:
        for item in items:
            yield item, work(item, told(item))


@dataclass(frozen=True)
class Pool:
    """Workers that have been started, each of which does one call at a time."""

    submit: Callable[[Callable[[], Any]], Future[Any]]
    """Hands a call to a worker that is free."""
    died: tuple[type[Exception], ...]
    """What a future raises whose worker has died, in whose place there is another one."""
    keep: Callable[[], object] = lambda: None
    """Called at each look: starts a worker in the place of one that did not come back."""


@dataclass(frozen=True)
class Parallel(Engine):
    """Side by side on workers, each a process on one thread.

    A worker is sent the study, its cases and the names of its plugins; their classes stand in modules that a new
    process can import. An item whose worker dies goes on with another one, three times in all.
    """

    workers: Count | None = None
    """Items at a time; None for one per core."""

    @abstractmethod
    def pool(self, workers: int) -> AbstractContextManager[Pool]:
        """So many ``workers``, which end with the context, whatever they are at."""

    def each(
        self,
        work: Work[T, R],
        items: Sequence[T],
        told: Callable[[T], Progress],
        heard: Callable[[T], None],
    ) -> Generator[tuple[T, R | Failure], None, None]:
        if not items:
            return
        workers = min(self.workers or cpu_count(), len(items))
        waiting, lives, running = deque(range(len(items))), [LIVES] * len(items), dict[Future[R], int]()
        with self.pool(workers) as pool:
            while waiting or running:
                while waiting and len(running) < workers:
                    i = waiting.popleft()
                    running[pool.submit(partial(_on_one_thread, work, items[i]))] = i
                ended, _ = wait(running, PULSE, FIRST_COMPLETED)
                pool.keep()
                for future in ended:
                    i = running.pop(future)
                    if not isinstance(future.exception(), pool.died):
                        yield items[i], future.result()
                        continue
                    lives[i] -= 1
                    if lives[i]:
                        waiting.appendleft(i)
                    else:
                        yield items[i], Failure(DIED)
                for i in running.values() if not ended else ():
                    heard(items[i])


def _on_one_thread(work: Work[T, R], item: T) -> R:
    torch.set_num_threads(1)
    return work(item, None)
