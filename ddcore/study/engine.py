"""Where the cases of a study run: one after another, or side by side in processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from ddcore.bounds import Count
from ddcore.parts import Part
from ddcore.types import Progress

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, Progress | None], R]

AS_THEY_COME: dict[str, Any] = {"batch_size": 1, "pre_dispatch": "n_jobs"}
AS_IT_IS: dict[str, Any] = {"reuse": True, "kill_workers": True}
"""What joblib takes and its annotations do not know."""


class Engine(Part, kind="engine"):
    """What calls a function of many items; no item waits for what comes out of another."""

    @abstractmethod
    def each(
        self, work: Work[T, R], items: Sequence[T], told: Callable[[T], Progress | None]
    ) -> Generator[tuple[T, R], None, None]:
        """Each item with ``work`` of it, in the order in which they end; ``told(item)`` is its progress.

        What is raised ends it all: ``work`` answers its own failures.
        """


@dataclass(frozen=True)
class Local(Engine):
    """One after another, in this process."""

    def each(
        self, work: Work[T, R], items: Sequence[T], told: Callable[[T], Progress | None]
    ) -> Generator[tuple[T, R], None, None]:
        for item in items:
            yield item, work(item, told(item))


@dataclass(frozen=True)
class Processes(Engine):
    """Side by side in processes of joblib, on one thread each.

    A process is sent the study, its cases and the names of its plugins; their classes stand in modules that a new
    process can import, or in the program itself. No progress comes from within a case.
    """

    jobs: Count = 2
    """Processes at a time."""
    backend: str = "loky"
    """Of joblib; one that a distribution registers (``joblib.register_parallel_backend``) reaches other machines, which
    must then see the study's folder at the same path."""

    def each(
        self, work: Work[T, R], items: Sequence[T], told: Callable[[T], Progress | None]
    ) -> Generator[tuple[T, R], None, None]:
        side_by_side = Parallel(self.jobs, backend=self.backend, return_as="generator_unordered", **AS_THEY_COME)
        try:
            yield from cast(Iterator[tuple[T, R]], side_by_side(delayed(_on_one_thread)(work, item) for item in items))
        finally:
            if self.backend == "loky":  # which keeps idle processes, each with its memory and what it has imported
                get_reusable_executor(**AS_IT_IS).shutdown(kill_workers=True)


def _on_one_thread(work: Work[T, R], item: T) -> tuple[T, R]:
    torch.set_num_threads(1)
    return item, work(item, None)
