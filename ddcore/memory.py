"""What this machine's memory holds, asked before anything is made that it would not, and how it is kept."""

from __future__ import annotations

import math
import os
from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ddcore.errors import RecipeRefused
from ddcore.fast import fast


@cache
def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def keep_heap() -> None:
    """Let this process keep the memory that its tensors free, once.

    The C library of Linux gives a freed block of more than some 128 KiB back to the kernel, which clears it anew for
    the next tensor: half of a step's time. It learns from the largest block that was freed, up to 32 MiB, that such
    blocks come again.
    """
    if fast():
        torch.empty(31 * 2**20, dtype=torch.uint8)


def fits(what: str, numbers: int) -> None:
    """Raises RecipeRefused where ``numbers`` float32 numbers, which ``what`` is to hold, are more than memory has."""
    if 4 * numbers > memory():
        raise RecipeRefused(
            f"{what} would hold {float(numbers):.3g} numbers or more, which is {4 * numbers / 2**30:.3g} GiB, and this"
            f" machine has {memory() / 2**30:.3g} GiB of memory: take smaller sizes."
        )


class WithinMemory(TorchDispatchMode):
    """Counts the numbers of tensors as they are made for ``what``, and refuses the one that memory would not hold.

    With ``made`` false none is made: all stand on the meta device.
    """

    def __init__(self, what: str, made: bool = True) -> None:
        super().__init__()
        self.what, self.made, self.numbers = what, made, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if size and all(isinstance(side, int) for side in size):
            self.numbers += math.prod(size)
            fits(self.what, self.numbers)
            if not self.made:
                return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))
