"""Workers of Ray on this machine, and how Ray is kept on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ddcore.errors import RecipeRefused
from ddcore.study.engine import Parallel, Pool
from ddcore.study.watchdog import guarded_home

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: with it Ray listens on loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU of their own keep what they see
}
"""What Ray reads when it is imported: no telemetry, and loopback alone, unless the user says otherwise."""
STARTS = 3
"""How often Ray is started at most, until its processes have come up in time."""
SLOW = (RuntimeError, TimeoutError, ConnectionError)
"""What Ray raises, besides a plain Exception, where its processes take longer to come up than it waits."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory for messages between Ray's processes."""


@dataclass(frozen=True)
class Ray(Parallel):
    """Side by side on workers of Ray, which it starts on this machine: on loopback, without dashboard or telemetry."""

    def ready(self) -> None:
        if find_spec("ray") is None:
            raise RecipeRefused("The engine ray needs the package ray: pip install 'ddcore[ray]'.")
        _refuse_another_session()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        home = os.path.expanduser("~")
        with ray_at_home(workers) as arguments:
            import ray
            from ray.exceptions import OutOfMemoryError, WorkerCrashedError

            _start(ray, arguments)
            try:
                remote = ray.remote(num_cpus=1, max_retries=0)(_at_home)
                yield Pool(lambda call: remote.remote(home, call).future(), (WorkerCrashedError, OutOfMemoryError))
            finally:
                ray.shutdown()


@contextmanager
def ray_at_home(cores: int) -> Iterator[dict[str, Any]]:
    """The arguments of ``ray.init`` for ``cores`` workers of this machine, on one thread each.

    All of Ray's files lie in a folder of their own, which is also the home of its processes; both end with this
    context, and with this process however that ends. What can be imported here can be imported there.

    Raises:
        RecipeRefused: Ray has a session in this process already, which would end with this context.
    """
    _refuse_another_session()
    with guarded_home("ddray-") as folder:
        changes = {"HOME": folder, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        before = {name: os.environ.get(name) for name in changes}
        for name, value in RAY_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ.update(changes)
        try:
            yield {
                "num_cpus": cores,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "log_to_driver": False,
                "logging_level": "error",
                "_temp_dir": folder,
            }
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _refuse_another_session() -> None:
    ray = sys.modules.get("ray")  # what has not been imported has none, and is imported in RAY_ENVIRONMENT
    if ray is not None and ray.is_initialized():
        raise RecipeRefused(
            "Ray has a session in this process already, which a second one would end. End it by ray.shutdown() first,"
            " or take another engine."
        )


def _start(ray: Any, arguments: dict[str, Any]) -> None:
    """Start it, with :data:`STARTS` tries where it was too slow. Raises RecipeRefused where it does not start."""
    for left in reversed(range(STARTS)):
        try:
            ray.init("local", **arguments)
            return
        except Exception as error:
            ray.shutdown()
            said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            if not (type(error) is Exception or isinstance(error, SLOW)):
                raise RecipeRefused(f"Ray did not start: {said}. Correct that, or take another engine.") from error
            if not left:
                raise RecipeRefused(
                    f"Ray did not start in {STARTS} tries, the last of which said: {said}. Leave it more of the"
                    " machine, or take another engine."
                ) from error


def _at_home(home: str, call: Callable[[], Any]) -> Any:
    os.environ["HOME"] = home
    return call()
