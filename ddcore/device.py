"""The machine at hand: whether it has a device, how tensors go there, and the memory that was used."""

from __future__ import annotations

import resource
import sys
import time
from functools import cache
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


def held_mib(device: str | torch.device) -> float:
    """The most memory that this process has held, in MiB: on a GPU of the GPU's."""
    if torch.device(device).type != "cuda":
        return peak_mib()
    return torch.cuda.max_memory_allocated(device) / 2**20


def check_device(device: str) -> None:
    """Raises RecipeRefused where there is no such device here."""
    try:
        torch.zeros((), device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch says either, for a device it lacks or does not know
        raise RecipeRefused(f"The device {device!r} cannot be used: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """The first sentence of what ``error`` says."""
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")


def check_precision(where: str, dtype: torch.dtype, device: torch.device) -> None:
    """Raises RecipeRefused where products in ``dtype`` take longer on ``device`` than in float32, as tried here."""
    exact, short = (_product_seconds(kind, device) for kind in (torch.float32, dtype))
    if short > exact:
        name = str(dtype).removeprefix("torch.")
        raise RecipeRefused(
            f"{where} = {name}: products take {short / exact:.1f} times as long as in float32 on this {device.type},"
            " which has no hardware for them. Take float32."
        )


@cache
def check_compiler(where: str, device: torch.device) -> None:
    """Raises RecipeRefused where torch compiles nothing for ``device``, as tried here."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as error:  # whatever torch, a compiler or the system say
        raise RecipeRefused(
            f"{where} = true: torch.compile does not work on this {device.type}: {_reason(error)}. It needs a C++"
            " compiler, such as g++. Leave it out."
        ) from error


def _product_seconds(dtype: torch.dtype, device: torch.device, tries: int = 5) -> float:
    """The least seconds of one product of square matrices, so large that the product takes most of them."""
    side = 256 if device.type == "cpu" else 4096
    matrix, taken = torch.ones(side, side, dtype=dtype, device=device), []
    for _ in range(tries):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        taken.append(time.perf_counter() - began)
    return min(taken)


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
