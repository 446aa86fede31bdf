"""The machine at hand: whether it has a device, how tensors go there, and the memory that was used."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from torch import Tensor

from ddcore.errors import RecipeRefused
from ddcore.types import Params


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


PAGEABLE_BYTES = 2**16
"""Copies of up to so many bytes leave ordinary memory without waiting for the GPU."""


def sent(x: Tensor, device: torch.device) -> Tensor:
    """``x`` on ``device``, on its way there while the program goes on."""
    if device.type == "cuda" and x.device.type == "cpu" and x.nbytes > PAGEABLE_BYTES:
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


def all_sent(params: Params, device: torch.device) -> Params:
    """Each of the named tensors as :func:`sent` has it."""
    return {name: sent(value, device) for name, value in params.items()}
