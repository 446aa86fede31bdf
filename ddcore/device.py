"""The machine at hand: whether it has a device, and the memory that was used."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from ddcore.errors import RecipeRefused


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    On Linux from the process's own high-water mark: what ``getrusage`` says there begins with the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def check_device(device: str) -> None:
    """Raises RecipeRefused where there is no such device here."""
    try:
        torch.zeros((), device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch says either, for a device it lacks or does not know
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        raise RecipeRefused(f"The device {device!r} cannot be used: {reason}.") from error
