"""Numbers in few bits: whole levels between the least and the greatest of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

Bits = Literal[4, 8, 16]
"""Bits per number; where nothing is said, numbers are float32."""
RANGE_BYTES = 8
"""Bytes of the least and the greatest number of a range, as float32."""


@dataclass(frozen=True)
class Levels:
    """Numbers as levels 0 to 2^bits - 1, the least of a range being level 0 and the greatest the last one.

    What comes back is read as it is written: levels made of :meth:`values` give the same values again.
    """

    levels: Tensor
    """Whole numbers, int64, of the shape of what they stand for."""
    low: Tensor
    """The least number, float32, of a shape that broadcasts against ``levels``."""
    high: Tensor
    """The greatest number, as ``low``."""
    bits: Bits

    @classmethod
    def of(cls, values: Tensor, bits: Bits, axis: int | None = None) -> Self:
        """The levels nearest to finite ``values``: one range for all, or one for each index along ``axis``."""
        others = [i for i in range(values.ndim) if i != axis]
        low, high = (values.amin(others, keepdim=True), values.amax(others, keepdim=True)) if others else (values,) * 2
        width = (high.double() - low.double()).clamp_min(torch.finfo(torch.float64).tiny)
        levels = ((values.double() - low.double()) / width * (2**bits - 1)).round().long()
        return cls(levels, low, high, bits)

    def values(self) -> Tensor:
        """The numbers that the levels stand for, float32."""
        last = 2**self.bits - 1
        low, high = self.low.double(), self.high.double()
        between = (low + (high - low) * (self.levels / last)).float()
        return torch.where(self.levels == last, self.high.expand_as(between), between)

    def packed(self) -> Tensor:
        """As stored: a byte per number, int16 less 32768, or two numbers to a byte, each item (n, ...) by itself."""
        if self.bits == 16:
            return (self.levels - 2**15).to(torch.int16)
        if self.bits == 8:
            return self.levels.to(torch.uint8)
        rows = self.levels.flatten(1) if self.levels.ndim > 1 else self.levels.reshape(1, -1)
        rows = functional.pad(rows, (0, rows.shape[1] % 2))
        return (rows[:, ::2] * 16 + rows[:, 1::2]).to(torch.uint8)

    @classmethod
    def unpacked(cls, stored: Tensor, shape: tuple[int, ...], low: Tensor, high: Tensor, bits: Bits) -> Self:
        """What :meth:`packed` gave of numbers of ``shape``. Raises ValueError where ``stored`` cannot be that."""
        each = math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)
        wanted = (shape[0] if len(shape) > 1 else 1, -(-each // 2)) if bits == 4 else shape
        if tuple(stored.shape) != wanted or stored.dtype != (torch.int16 if bits == 16 else torch.uint8):
            raise ValueError(f"{bits} bits of {shape} are no {stored.dtype} {tuple(stored.shape)}")
        if bits == 16:
            return cls(stored.long() + 2**15, low, high, bits)
        if bits == 8:
            return cls(stored.long(), low, high, bits)
        pairs = torch.stack([stored >> 4, stored & 15], 2).flatten(1)[:, :each]
        return cls(pairs.long().reshape(shape), low, high, bits)


def stored_bytes(values: Tensor, bits: int | None) -> int:
    """Bytes of ``values`` at ``bits`` per number with their range; as they are where that is no more, or None."""
    if bits is None or values.dtype != torch.float32:
        return values.nbytes
    each = values[0].numel() if values.ndim > 1 and len(values) else values.numel()
    return min(values.nbytes, values.numel() // max(1, each) * -(-each * bits // 8) + RANGE_BYTES)


def coarse(values: Tensor, bits: Bits | None) -> Tensor:
    """``values`` as they come back from what :func:`stored_bytes` counts, the same where that is what they are."""
    if bits is None or stored_bytes(values, bits) == values.nbytes:
        return values
    return Levels.of(values, bits).values()


def packed_numbers(numbers: Tensor, bits: int) -> Tensor:
    """Whole numbers (n, m) below 2^bits, of up to 8 bits, as uint8 (n, ceil(bits m / 8)), the lowest bits first."""
    places = torch.arange(8, device=numbers.device)
    ones = (numbers[..., None] >> places[:bits] & 1).flatten(1)
    return (functional.pad(ones, (0, -ones.shape[1] % 8)).unflatten(1, (-1, 8)) << places[:8]).sum(2).to(torch.uint8)


def unpacked_numbers(stored: Tensor, m: int, bits: int) -> Tensor:
    """The numbers (n, m), int64, that :func:`packed_numbers` gave ``stored`` of."""
    places = torch.arange(8, device=stored.device)
    ones = (stored.long()[..., None] >> places[:8] & 1).flatten(1)[:, : m * bits]
    return (ones.unflatten(1, (m, bits)) << places[:bits]).sum(2)
