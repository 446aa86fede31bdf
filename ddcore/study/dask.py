"""Workers of Dask, on this machine or those of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ddcore.errors import RecipeRefused
from ddcore.study.engine import Parallel, Pool

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

    The workers of a cluster must see the study's folder and the data at the same paths.
    """

    scheduler: str = ""
    """Address (``tcp://node:8786``) or scheduler file of a cluster that runs; empty for workers of this machine."""

    def ready(self) -> None:
        if find_spec("distributed") is None:
            raise RecipeRefused("The engine dask needs the package distributed: pip install 'ddcore[dask]'.")

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        import dask
        from distributed import Client, KilledWorker, LocalCluster

        with dask.config.set(OWN):
            if not self.scheduler:
                place: dict[str, Any] = {
                    "n_workers": workers,
                    "threads_per_worker": 1,
                    "host": "127.0.0.1",
                    "dashboard_address": None,
                    "memory_limit": None,
                    "silence_logs": logging.CRITICAL,
                }
                with LocalCluster(**place) as cluster, Client(cluster) as client:
                    yield Pool(client.get_executor(pure=False).submit, (KilledWorker,))
                return
        named = "scheduler_file" if Path(self.scheduler).is_file() else "address"
        with Client(**{named: self.scheduler}) as client:
            yield Pool(client.get_executor(pure=False).submit, (KilledWorker,))
