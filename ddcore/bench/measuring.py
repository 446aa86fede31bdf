"""Speed as ratios: each fast path against the plain one, which it must agree with first.

Rounds alternate A B A B in one process; the peak memory of each side is a fresh process's. On a CPU the ratio is of CPU
seconds, on a GPU of wall seconds: the processor only waits there.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ddcore.bench.rows import ROWS, Pair, Rows
from ddcore.device import check_device, held_mib
from ddcore.errors import DdcoreError, UnknownName
from ddcore.files import check_target, write_whole
from ddcore.host import Host

TOLERANCE = 1e-5
"""Largest relative difference of one step's gradient, in float32."""


def _rows() -> dict[str, Rows]:
    """The core's rows and those that plugins bring."""
    return {**ROWS, **{entry.name: cast(Rows, entry.maker) for entry in Host().catalogue.of("benchmark")}}


def _timed(work: Callable[[], Any], device: str = "cpu") -> dict[str, float]:
    """Seconds until all is done, and the pages that the kernel had to clear."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    faults = after.ru_minflt - before.ru_minflt
    return {"wall": wall, "user": user, "system": system, "cpu": user + system, "faults": faults}


class Launches(TorchDispatchMode):
    """Counts the operations that are not views: each is at least one kernel that a GPU would launch."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def launches(work: Callable[[], Any], device: str = "cpu") -> int:
    """Kernels that ``work`` launches on a GPU, forward and backward; on a CPU its operations that are not views."""
    if device == "cpu":
        with Launches() as seen:
            work()
        return seen.count
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        work()
        torch.cuda.synchronize(device)
    return sum(event.device_type.name == "CUDA" for event in profiled.events() or ())


KINDS = ("wall", "user", "system", "cpu", "faults")


def peaks(device: str = "cpu", rounds: int = 5) -> dict[str, float]:
    """The most GFLOP/s that products and convolutions (128 to 128 channels, 16 x 16) of float32 reach here, on a GPU
    of matrices and batches that fill it."""
    side, batch = (1024, 16) if device == "cpu" else (8192, 4096)
    a, x = torch.randn(side, side, device=device), torch.randn(batch, 128, 16, 16, device=device)
    weight = torch.randn(128, 128, 3, 3, device=device)
    works = {
        "product": (lambda: a @ a, 2 * side**3),
        "convolution": (lambda: F.conv2d(x, weight, padding=1), 2 * batch * 256 * 9 * 128**2),
    }
    return {
        name: flops / min(_timed(work, device)["wall"] for _ in range(rounds)) / 1e9
        for name, (work, flops) in works.items()
    }


def _peak(row: str, number: int, side: str, threads: int, device: str) -> tuple[float, float]:
    """Peak MiB of a fresh process that does the work once, and how much of that the work added."""
    command = [sys.executable, "-m", "ddcore.bench.measuring", row, str(number), side, str(threads), device]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(after), float(after) - float(before)


def measure(row: str, number: int, pair: Pair, rounds: int, threads: int, device: str = "cpu") -> dict[str, Any]:
    """One row: agreement, then ``rounds`` of plain and fast in turn.

    Raises:
        DdcoreError: the fast path does not agree with the plain one; nothing is timed then.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        apart = pair.apart()
    if not apart <= TOLERANCE:
        raise DdcoreError(f"{row} ({pair.setting}): fast and plain differ by {apart:.1e}, more than {TOLERANCE:.0e}.")
    pair.plain()
    pair.fast()
    counted = {"plain": launches(pair.plain, device), "fast": launches(pair.fast, device)}
    times = [(_timed(pair.plain, device), _timed(pair.fast, device)) for _ in range(rounds)]
    told = "cpu" if device == "cpu" else "wall"
    ratios = sorted(plain[told] / fast[told] for plain, fast in times)
    peaks = {side: _peak(row, number, side, threads, device) for side in ("plain", "fast")}
    return {
        "row": row,
        "setting": pair.setting,
        "apart": apart,
        "rounds": rounds,
        "plain": {kind: median(plain[kind] for plain, _ in times) for kind in KINDS},
        "fast": {kind: median(fast[kind] for _, fast in times) for kind in KINDS},
        "ratio": {"median": median(ratios), "min": ratios[0], "max": ratios[-1]},
        "peak_mib": {side: peak for side, (peak, _) in peaks.items()},
        "added_mib": {side: added for side, (_, added) in peaks.items()},
        "launches": counted,
        "also": pair.also(),
    }


ROUNDS = 7
"""How often both paths are timed in turn, at the least."""


def command(rows: list[str], rounds: int, threads: int, device: str) -> str:
    """What a shell is told to measure this again."""
    words = ["ddcore", "bench", *rows]
    for name, value, default in (("rounds", rounds, ROUNDS), ("threads", threads, 1), ("device", device, "cpu")):
        if value != default:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def main(
    rows: list[str], path: Path | None = None, rounds: int = ROUNDS, threads: int = 1, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Measure ``rows``, print a table, and write it as JSON to ``path``, after each row, with the command that did.

    Raises:
        UnknownName: no such row.
        RecipeRefused: no such device.
    """
    check_device(device)
    rounds, known = max(rounds, ROUNDS), _rows()
    for row in rows:
        if row not in known:
            raise UnknownName("benchmark", row, known)
    if path:
        check_target(path)
    torch.set_num_threads(threads)
    allocator = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    console = Console(width=max(150, Console().width))
    reached = peaks(device)
    machine_name = platform.machine() if device == "cpu" else torch.cuda.get_device_name(device)
    console.print(
        f"torch {torch.__version__}, {threads} thread(s), {machine_name}, allocator {allocator or 'default'}, at"
        f" most {reached['product']:.0f} GFLOP/s in products and {reached['convolution']:.0f} in convolutions"
    )
    table = Table(
        "row",
        "setting",
        "wall s plain/fast",
        "user s",
        "system s",
        "page faults",
        "launches",
        "peak MiB",
        "of it the work's",
        f"{'CPU' if device == 'cpu' else 'wall'} ratio (min-max)",
        "apart",
    )
    machine = {
        "torch": torch.__version__,
        "threads": threads,
        "machine": machine_name,
        "allocator": allocator,
        "peak_gflops": reached,
    }
    found = []
    for row in rows:
        for number, pair in enumerate(known[row](device)):
            with Console(stderr=True).status(f"{row}: {pair.setting}"):
                result = measure(row, number, pair, rounds, threads, device)
            found.append(result)
            if path:
                about = {"command": command(rows, rounds, threads, device), "machine": machine, "rows": found}
                write_whole(path, (json.dumps(about, indent=1) + "\n").encode())
            p, f, ratio = result["plain"], result["fast"], result["ratio"]
            table.add_row(
                row,
                "; ".join([pair.setting, *(f"{name} {value:.3f}" for name, value in result["also"].items())]),
                *(f"{p[kind]:.3f} / {f[kind]:.3f}" for kind in ("wall", "user", "system")),
                f"{p['faults']:.0f} / {f['faults']:.0f}",
                f"{result['launches']['plain']} / {result['launches']['fast']}",
                f"{result['peak_mib']['plain']:.0f} / {result['peak_mib']['fast']:.0f}",
                f"{result['added_mib']['plain']:.0f} / {result['added_mib']['fast']:.0f}",
                f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
                f"{result['apart']:.0e}",
            )
    console.print(table)
    return found


if __name__ == "__main__":
    _row, _number, _side, _threads, _device = sys.argv[1:]
    torch.set_num_threads(int(_threads))
    _work = getattr(_rows()[_row](_device)[int(_number)], _side)
    _before = held_mib(_device)
    _work()
    print(_before, held_mib(_device))
