"""Arrays as a user hands them over: which axis is which, and which number stands for white."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ddcore.errors import BadData

Layout = Literal["nchw", "nhwc", "nct", "ntc"]
"""The order of the axes: items, channels, height, width; for signals items, channels, time."""
AXES = MappingProxyType[Layout, tuple[str, str]](
    {
        "nchw": ("image", "(n, c, h, w)"),
        "nhwc": ("image", "(n, h, w, c)"),
        "nct": ("signal", "(n, c, t)"),
        "ntc": ("signal", "(n, t, c)"),
    }
)
"""The kind of items that each layout is of, and how it is written."""
ENDS = MappingProxyType[str, tuple[Layout, Layout]]({"image": ("nchw", "nhwc"), "signal": ("nct", "ntc")})
"""Each kind's layouts with the channels at the first and at the last end of an item."""
LAYOUTS: Mapping[str, str] = MappingProxyType(
    {"image": "(n, h, w), (n, c, h, w) or (n, h, w, c)", "vector": "(n, d)", "signal": "(n, c, t) or (n, t)"}
)
"""How arrays of the core's kinds of items may be laid out."""
RANKS = {"image": (3, 4), "vector": (2,), "signal": (2, 3)}
SHORTEST = 4
"""Pixels of the shortest side of an image whose layout is guessed."""

WHITES = (1, 255, 65535)
"""What white is usually saved as: in floats, in 8 bits, in 16 bits."""
OVERSHOOT = 0.1
"""How far resizing may have taken values beyond black and white, as a share of white."""
APART = {"image": 8}
"""How many times larger the largest value of one split may be than that of another; 100 for other kinds."""


def as_array(where: str, given: Any) -> np.ndarray | Tensor:
    """``given`` as an array or a dense tensor on the CPU.

    Raises:
        BadData: it is ragged, masked, or a tensor that has no array.
    """
    if isinstance(given, Tensor):
        if given.layout != torch.strided or given.is_quantized or given.is_meta:
            raise BadData(f"{where} are a tensor that is not dense. Give plain numbers.")
        return given.detach().cpu()
    if np.ma.is_masked(given):
        raise BadData(f"{where} have masked entries. Fill them in, or drop their items.")
    try:
        return np.asarray(given)
    except (ValueError, TypeError) as error:
        raise BadData(f"{where} are not one array ({error}). Give each item the same shape.") from error


def numbers(where: str, given: np.ndarray | Tensor) -> Tensor:
    """uint8 as they are, all other numbers as float32. Copied only where torch cannot share them.

    Raises:
        BadData: they are no numbers, or not finite in float32.
    """
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biuf":
            raise BadData(f"{where} are {given.dtype}. Save them as uint8, which stand for [0, 1], or as floats.")
        if given.dtype != np.uint8:
            with np.errstate(over="ignore"):
                given = given.astype(np.float32, copy=False)
        given = torch.from_numpy(np.require(given, requirements=("C", "W")))
    if given.is_complex():
        raise BadData(f"{where} are {given.dtype}. Save them as uint8, which stand for [0, 1], or as floats.")
    if given.dtype == torch.uint8:
        return given
    given = given.float()
    if given.ndim and given.numel():
        bad = (~torch.isfinite(given)).reshape(len(given), -1).any(1).nonzero().flatten()
        if len(bad):
            raise BadData(
                f"{where} hold NaN or infinity in {len(bad)} of {len(given)} items, the first at {int(bad[0])}."
                " Repair or drop them."
            )
    return given


def channels_first(where: str, x: Tensor, kind: str, layout: Layout | None) -> tuple[Tensor, str]:
    """``x`` with its axes as networks of the ``kind`` take them, and how they were read.

    Without a ``layout``, images (n, c, h, w) and (n, h, w, c) are told apart where just one end of an item has 1 or 3
    channels and both sides are at least :data:`SHORTEST`; signals are (n, c, t) where they have fewer channels than
    steps. Nothing else is guessed.

    Raises:
        BadData: another number of axes than the kind has, or channels that could lie at either end.
    """
    shape = tuple(x.shape)
    if not x.numel() or x.ndim < 2 or x.ndim not in RANKS.get(kind, (x.ndim,)):
        others = [f'kind = "{other}"' for other, ranks in RANKS.items() if x.numel() and x.ndim in ranks]
        raise BadData(
            f"{where} have the shape {shape}. Wanted: some of {LAYOUTS.get(kind, '(n, ...)')}."
            + (f" Or say what they are: {' or '.join(others)}." if others else "")
        )
    if kind not in ENDS:
        return x, ""
    if x.ndim == RANKS[kind][0]:
        return x[:, None], "(n, h, w)" if kind == "image" else "(n, t)"
    first, last = ENDS[kind]
    if layout is None:
        layout = _guessed(shape[1:], first, last)
    if layout is None:
        sizes = ["x".join(map(str, item)) for item in (shape[1:], (shape[-1], *shape[1:-1]))]
        raise BadData(
            f"{where} have the shape {shape}, in which either end may be the channels. Say which, with"
            f' layout="{first}" for {kind}s of {sizes[0]}, or layout="{last}" for {kind}s of {sizes[1]}'
            f" (--set experiment.data.layout={last})."
        )
    return (x.movedim(-1, 1).contiguous() if layout == last else x), AXES[layout][1]


def _guessed(item: tuple[int, ...], first: Layout, last: Layout) -> Layout | None:
    if first == "nct":
        return first if item[0] == 1 or item[0] < item[1] else None
    if item[0] in (1, 3) and min(item[1:]) >= SHORTEST:
        return first
    return last if item[-1] in (1, 3) and min(item[:-1]) >= SHORTEST else None


@dataclass(frozen=True)
class Span:
    """The range of some values, and whether they came as uint8."""

    low: float
    high: float
    byte: bool

    @staticmethod
    def of(x: Tensor) -> Span:
        low, high = (float(end) for end in x.aminmax())
        return Span(low, high, x.dtype == torch.uint8)

    @property
    def centred(self) -> bool:
        """It goes further below zero than resizing takes values: they were standardised."""
        return self.low < -OVERSHOOT * max(self.high, 0)

    @property
    def white(self) -> float | None:
        """What stands for white: by the type or the largest value, or 1 for what was standardised; None if unclear."""
        if self.centred:
            return 1
        if self.byte:
            return 1 if self.high == 1 else 255
        fits = (w for w in WHITES if self.high <= (1 + OVERSHOOT) * w and (w == 1 or self.high > w / 2))
        return next(fits, None)


def one_range(name: str, kind: str, splits: Mapping[str, Tensor], white: float | None) -> tuple[dict[str, Tensor], str]:
    """The splits in one range, and what was done to their values.

    Images are brought to [0, 1], in which ``white`` is 1; without it, white is decided once for all splits that came
    as uint8 and once for all others, and values that were standardised are used as they are. Numbers that are no
    images are used as they are, unless a split came as uint8, which stand for [0, 1].

    Raises:
        BadData: what stands for white is unclear, or the splits are in different ranges.
    """
    spans = {split: Span.of(x) for split, x in splits.items()}
    mixed = {span.byte for span in spans.values()}
    whites = dict.fromkeys(splits, white or 1.0)
    if white is None:
        for byte in mixed:
            group = {split: span for split, span in spans.items() if span.byte == byte}
            found = Span(min(s.low for s in group.values()), max(s.high for s in group.values()), byte).white
            if not byte and kind != "image" and len(mixed) == 1:
                found = 1
            if found is None:
                ends = next(iter(group.values()))
                raise BadData(
                    f"{name}: the values of {', '.join(group)} go from {ends.low:g} to {ends.high:g}, so it is unclear"
                    " which of them is white. Say so with white=255, or white=1 to use them as they are"
                    " (--set experiment.data.white=255)."
                )
            whites |= dict.fromkeys(group, found)
        _check_alike(name, kind, spans, whites)
    told = {split: "used as they are" if w == 1 else f"divided by {w:g}" for split, w in whites.items()}
    return {split: _divided(x, spans[split], whites[split]) for split, x in splits.items()}, by_split(told)


def by_split(told: Mapping[str, str]) -> str:
    """What was found of each split, once where it is the same of all."""
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{text} in {split}" for split, text in told.items())


def _check_alike(name: str, kind: str, spans: Mapping[str, Span], whites: Mapping[str, float]) -> None:
    strict = kind == "image" or len({span.byte for span in spans.values()}) > 1
    sizes = {s: max(abs(span.low), abs(span.high)) / whites[s] for s, span in spans.items() if span.low < span.high}
    for one, other in pairwise(sizes):
        ratio = max(sizes[one], sizes[other]) / min(sizes[one], sizes[other])
        if ratio > APART.get(kind, 100) or (strict and spans[one].centred != spans[other].centred):
            ends = [f"those of {s} from {spans[s].low:g} to {spans[s].high:g}" for s in (one, other)]
            raise BadData(
                f"{name}: the values of the splits are in different ranges, {' and '.join(ends)}. Bring them to one"
                " range; or, if they are in one, say what stands for white: white=255, or white=1 to use them as they"
                " are."
            )


def _divided(x: Tensor, span: Span, white: float) -> Tensor:
    """``x / white``, as uint8 where that is exact and stands for the same."""
    if white == 255 and (span.byte or (span.low >= 0 and span.high <= 255 and _whole(x))):
        return x.to(torch.uint8)
    if white == 1 and span.byte and span.high <= 1:
        return 255 * x
    return x.float() / white if white != 1 else x.float()


def _whole(x: Tensor) -> bool:
    return all(bool((part == part.round()).all()) for part in x.split(4096))
