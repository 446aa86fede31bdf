"""Workers of Dask, on this machine or those of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ddcore.errors import RecipeRefused
from ddcore.study.engine import Parallel, Pool

if TYPE_CHECKING:
    from distributed import Client

OWN = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.nanny.pre-spawn-environ": {},
}
"""Of workers that are started here: the engine retries, no case waits at a worker, and memory is freed as anywhere."""


@dataclass(frozen=True)
class Dask(Parallel):
    """Side by side on workers of Dask: those of a cluster that runs, or, on loopback and without dashboard, of this
    machine.

    The workers of a cluster have one thread each, and see the study's folder and the data at the same paths.
    """

    scheduler: str = ""
    """Address (``tcp://node:8786``) or scheduler file of a cluster that runs; empty for workers of this machine."""

    def ready(self) -> None:
        if find_spec("distributed") is None:
            raise RecipeRefused("The engine dask needs the package distributed: pip install 'ddcore[dask]'.")

    def pool(self, workers: int) -> AbstractContextManager[Pool]:
        return self._elsewhere() if self.scheduler else _here(workers)

    @contextmanager
    def _elsewhere(self) -> Iterator[Pool]:
        from distributed import Client

        in_file = Path(self.scheduler).is_file()
        try:
            client = Client(scheduler_file=self.scheduler) if in_file else Client(self.scheduler)
        except (OSError, ValueError) as error:
            raise RecipeRefused(f"The scheduler {self.scheduler} cannot be reached: {error}.") from error
        with client:
            threads = cast(dict[str, int], client.nthreads())
            if max(threads.values(), default=1) > 1:
                raise RecipeRefused(
                    f"Workers of {self.scheduler} run several cases in one process. Start each with one thread."
                )
            yield _of(client)


def _of(client: Client, keep: Callable[[], object] = lambda: None) -> Pool:
    from distributed import KilledWorker

    return Pool(client.get_executor(pure=False).submit, (KilledWorker,), keep)


@contextmanager
def _here(workers: int) -> Iterator[Pool]:
    """Workers that a nanny starts again. One that takes longer than the cluster waits is taken for lost, its nanny
    with it: so the cluster is asked again and again to have them all."""
    from dask import config
    from distributed import Client, LocalCluster

    place: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "memory_limit": None,
        "silence_logs": logging.CRITICAL,
    }
    with config.set(OWN), LocalCluster(**place) as cluster, Client(cluster) as client:
        yield _of(client, lambda: cast(LocalCluster, cluster).scale(workers))
