"""Speed as ratios: each fast path against the plain one, which it must agree with first.

Rounds alternate A B A B in one process; the peak memory of each side is a fresh process's.
"""

from __future__ import annotations

import json
import os
import platform
import resource
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
from ddcore.device import peak_mib
from ddcore.errors import DdcoreError, UnknownName
from ddcore.files import check_target, write_whole
from ddcore.host import Host

TOLERANCE = 1e-5
"""Largest relative difference of one step's gradient, in float32."""


def _rows() -> dict[str, Rows]:
    """The core's rows and those that plugins bring."""
    return {**ROWS, **{entry.name: cast(Rows, entry.maker) for entry in Host().catalogue.of("benchmark")}}


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds, and the pages that the kernel had to clear."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
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


def launches(work: Callable[[], Any]) -> int:
    """Operations that are not views in ``work``, forward and backward."""
    with Launches() as seen:
        work()
    return seen.count


KINDS = ("wall", "user", "system", "cpu", "faults")


def peaks(rounds: int = 5) -> dict[str, float]:
    """The most GFLOP/s that products (1024 x 1024) and convolutions (128 to 128 channels, 16 x 16) reach here."""
    a, x = torch.randn(1024, 1024), torch.randn(16, 128, 16, 16)
    weight = torch.randn(128, 128, 3, 3)
    works = {
        "product": (lambda: a @ a, 2 * 1024**3),
        "convolution": (lambda: F.conv2d(x, weight, padding=1), 2 * 16 * 256 * 9 * 128**2),
    }
    return {
        name: flops / min(_timed(work)["wall"] for _ in range(rounds)) / 1e9 for name, (work, flops) in works.items()
    }


def _peak(row: str, number: int, side: str, threads: int) -> tuple[float, float]:
    """Peak MiB of a fresh process that does the work once, and how much of that the work added."""
    command = [sys.executable, "-m", "ddcore.bench.measuring", row, str(number), side, str(threads)]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(after), float(after) - float(before)


def measure(row: str, number: int, pair: Pair, rounds: int, threads: int) -> dict[str, Any]:
    """One row: agreement, then ``rounds`` of plain and fast in turn.

    Raises:
        DdcoreError: the fast path does not agree with the plain one; nothing is timed then.
    """
    apart = pair.apart()
    if not apart <= TOLERANCE:
        raise DdcoreError(f"{row} ({pair.setting}): fast and plain differ by {apart:.1e}, more than {TOLERANCE:.0e}.")
    pair.plain()
    pair.fast()
    counted = {"plain": launches(pair.plain), "fast": launches(pair.fast)}
    times = [(_timed(pair.plain), _timed(pair.fast)) for _ in range(rounds)]
    ratios = sorted(plain["cpu"] / fast["cpu"] for plain, fast in times)
    peaks = {side: _peak(row, number, side, threads) for side in ("plain", "fast")}
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


def main(rows: list[str], path: Path | None = None, rounds: int = 7, threads: int = 1) -> list[dict[str, Any]]:
    """Measure ``rows``, print a table, and write it as JSON to ``path``, after each row.

    Raises:
        UnknownName: no such row.
    """
    known = _rows()
    for row in rows:
        if row not in known:
            raise UnknownName("benchmark", row, known)
    if path:
        check_target(path)
    torch.set_num_threads(threads)
    allocator = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    console = Console(width=max(150, Console().width))
    reached = peaks()
    console.print(
        f"torch {torch.__version__}, {threads} thread(s), {platform.machine()}, allocator {allocator or 'default'}, at"
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
        "CPU ratio (min-max)",
        "apart",
    )
    machine = {
        "torch": torch.__version__,
        "threads": threads,
        "machine": platform.machine(),
        "allocator": allocator,
        "peak_gflops": reached,
    }
    found = []
    for row in rows:
        for number, pair in enumerate(known[row]()):
            with Console(stderr=True).status(f"{row}: {pair.setting}"):
                result = measure(row, number, pair, max(rounds, 7), threads)
            found.append(result)
            if path:
                write_whole(path, (json.dumps({"machine": machine, "rows": found}, indent=2) + "\n").encode())
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
    _row, _number, _side, _threads = sys.argv[1:]
    torch.set_num_threads(int(_threads))
    _work = getattr(_rows()[_row]()[int(_number)], _side)
    _before = peak_mib()
    _work()
    print(_before, peak_mib())
