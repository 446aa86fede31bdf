"""How much memory a forward pass takes, so that work can be cut by bytes.

On a CPU activations of a few MiB stay in the cache and in the heap; bigger ones are mapped and unmapped by the
kernel at every layer, which costs as much as the arithmetic. A GPU wants as much at once as its memory has room for.
Cutting a batch is exact for networks whose items do not see each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ddcore.fast import fast_paths
from ddcore.types import Draw

CHUNK_BYTES = 4 * 2**20
"""Largest activation of a chunk on a CPU, in bytes."""
GPU_SHARE = 256
"""The part of a GPU's memory that the largest activation of a chunk takes: a pass with derivatives holds some twenty of
them, and several processes may share one GPU."""


@cache
def chunk_bytes(device: torch.device) -> int:
    """The largest activation of a chunk on ``device``, in bytes."""
    if device.type != "cuda":
        return CHUNK_BYTES
    return max(CHUNK_BYTES, torch.cuda.get_device_properties(device).total_memory // GPU_SHARE)


class _Sizes(TorchDispatchMode):
    """Notes the size of every tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.floats: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        if isinstance(answer, Tensor):
            self.floats.append(answer.numel())
        return answer


def activation_floats(draw: Draw, shape: tuple[int, ...]) -> int:
    """The largest activation, in numbers, that one item of ``shape`` makes on its way through the network.

    Found as what grows when a third item comes along, so that tensors of the parameters do not count; a single item may
    take another way through the kernels, and the first call may make what a network keeps.
    """
    like = next(iter(draw.params.values()))
    seen = []
    for n in (2, 2, 3):
        with torch.no_grad(), fast_paths(False), _Sizes() as sizes:
            draw(like.new_zeros(n, *shape), training=False)
        seen.append(sizes.floats)
    return max(three - two for two, three in zip(*seen[1:], strict=True))


def chunk_size(draw: Draw, shape: tuple[int, ...], max_bytes: int | None = None) -> int:
    """Items whose largest activation fits ``max_bytes``, in float32; at least one.

    None for as many bytes as suit the device of the network's parameters.
    """
    fit = max_bytes or chunk_bytes(next(iter(draw.params.values())).device)
    return max(1, fit // (4 * activation_floats(draw, shape)))


def slices(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``n`` items, as even as they can be."""
    pieces = max(1, math.ceil(n / size))
    edges = [round(i * n / pieces) for i in range(pieces + 1)]
    return (slice(a, b) for a, b in pairwise(edges))
