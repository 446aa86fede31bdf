"""Ends what a killed simulation leaves: the processes with open files in its folder, and the folder.

Run as a program of its own, in a session of its own, with the folder as its argument and a pipe as its input, which
closes when the simulation ends, however that ends. Ray's own processes end by themselves, but not all of them soon.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROUNDS, PAUSE = 20, 0.5
"""How often to look, and how many seconds lie between: what is just starting is seen the next time."""


@contextmanager
def guarded_home(prefix: str) -> Iterator[str]:
    """A temporary folder to be the home of a simulation, where a note keeps Ray from asking whether it is in a cloud.

    Behind it stands a watchdog: when this process ends, even killed, what is still at work in the folder ends too.
    """
    folder = os.path.realpath(tempfile.mkdtemp(prefix=prefix))
    Path(folder, "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    guard = subprocess.Popen([sys.executable, "-I", __file__, folder], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guard.communicate()


def inside(folder: str, but: int = 0) -> Iterator[int]:
    """The processes that have files open below ``folder``, this one and ``but`` left out."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:  # it has ended, or is not ours
            continue
        if int(process.name) not in (os.getpid(), but) and any(file.startswith(f"{folder}/") for file in files):
            yield int(process.name)


def main(folder: str) -> None:
    simulation = os.getppid()
    sys.stdin.buffer.read()
    for _ in range(ROUNDS):
        left = list(inside(folder, but=simulation))
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not left and not Path(folder).exists():
            return
        if not left:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1])
