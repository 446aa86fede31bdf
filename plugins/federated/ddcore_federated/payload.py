"""What travels: a shared set as named arrays, and back again, whatever a stranger sent."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_federated.shared import Shared

Encoding = Literal["uint4", "uint8", "float16", "float32"]
"""How inputs are sent: half a byte or one byte per value, spread over the range of each channel, or floats of that
width.

Label values and step sizes travel as float32 where inputs do and as float16 otherwise, classes as bytes.
"""

MOST_AXES = 5
"""No set has an array of more."""
HEADER_BYTES = 1024
"""More than the npy header of any array here takes."""
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FLOATS = ("float16", "float32")
WHOLE = ("uint8", "uint16", "int32", "int64")
BITS: dict[str, dd.Bits] = {"uint4": 4, "uint8": 8}
LARGEST_STEP = 1e3
MOST_WARNINGS, LONGEST_WARNING = 10, 500
"""Sentences that a set may bring, and characters of each."""


class PayloadRefused(dd.DdcoreError):
    """What came is not a set that the server can use."""


@dataclass(frozen=True)
class Limits:
    """What a server knows of a set before it comes."""

    shape: tuple[int, ...]
    """One item's shape."""
    classes: int
    ipc: int
    """Most items of a class."""
    items: int
    """Most real items that can be behind it."""
    steps: int = 1000
    """Most training steps that it may prescribe."""
    largest: float = 100.0
    """Largest absolute value of a preprocessed input or of a label."""
    preprocess: str | None = None
    """What its inputs must have gone through, in :func:`~ddcore_federated.shared.in_words`; None for anything."""

    @property
    def sets(self) -> int:
        """Most items."""
        return self.ipc * self.classes

    def nbytes(self, name: str) -> int:
        """Most bytes of the array ``name``, its header included."""
        values = {
            "inputs": self.sets * math.prod(self.shape),
            "inputs.pairs": self.sets * math.prod(self.shape),
            "targets": self.sets * max(2, self.classes),
            "step_sizes": self.steps,
            "order": 2 * self.steps * self.sets,
        }
        return HEADER_BYTES + 4 * values.get(name, self.shape[0])


def packed(shared: Shared, encoding: Encoding = "uint8") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """``shared`` as arrays, and what is said of it: loss and momentum that it was made for, the items behind it, what
    its inputs went through (empty where nobody said), and its warnings.

    Raises:
        PayloadRefused: a value that the encoding cannot hold.
    """
    narrow = np.float32 if encoding == "float32" else np.float16
    arrays = _inputs(shared.inputs, encoding)
    targets = shared.targets.numpy()
    arrays["targets"] = targets.astype(narrow) if shared.targets.is_floating_point() else targets.astype(np.uint16)
    if shared.targets.ndim == 1 and (not len(targets) or int(targets.max()) < 256):
        arrays["targets"] = targets.astype(np.uint8)
    for name, value, dtype in (
        ("step_sizes", shared.step_sizes, np.float32),
        ("order", shared.order, np.uint16),
    ):
        if isinstance(value, tuple):
            raise PayloadRefused(
                f"The rows of {name} differ in length, which no array can hold: send one set at a time."
            )
        if value is not None:
            arrays[name] = value.detach().numpy().astype(dtype)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PayloadRefused(f"{name} hold values that are not finite as {array.dtype}. Take encoding float32.")
    said = {"loss": shared.loss, "momentum": shared.momentum, "items": shared.items}
    warnings = {"warnings": _told(shared.warnings)} if shared.warnings else {}  # Flower cannot count an empty list
    return arrays, {**said, "preprocess": shared.preprocess or "", **warnings}


def _told(warnings: tuple[str, ...]) -> list[str]:
    """As much of ``warnings`` as may travel."""
    short = [w if len(w) <= LONGEST_WARNING else f"{w[: LONGEST_WARNING - 3]}..." for w in warnings]
    if len(short) <= MOST_WARNINGS:
        return short
    return [*short[: MOST_WARNINGS - 1], f"There are {len(short) - MOST_WARNINGS + 1} more warnings on the set's card."]


def _inputs(inputs: Tensor, encoding: Encoding) -> dict[str, np.ndarray]:
    if encoding not in BITS:
        with np.errstate(over="ignore"):
            return {"inputs": inputs.numpy().astype(encoding)}
    levels = dd.Levels.of(inputs, BITS[encoding], axis=1)
    name = "inputs" if encoding == "uint8" else "inputs.pairs"
    spread = {"inputs.low": levels.low.flatten().numpy(), "inputs.high": levels.high.flatten().numpy()}
    return {name: levels.packed().numpy(), **spread}


def unpacked(blobs: Mapping[str, bytes], said: Mapping[str, Any], limits: Limits) -> Shared:
    """The set behind the npy files ``blobs`` and what is ``said`` of it.

    Raises:
        PayloadRefused: in a sentence, where anything is not as ``limits`` allow; nothing is decoded before its bytes
            have been counted.
    """
    loss, momentum, items = said.get("loss"), said.get("momentum"), said.get("items")
    preprocess = said.get("preprocess", "")
    if not isinstance(preprocess, str):
        raise PayloadRefused(f"it says that its inputs went through {preprocess!r:.50}, which is no text")
    if limits.preprocess not in (None, preprocess):
        how = f"its inputs went through {preprocess[:200]}" if preprocess else "it does not say what its went through"
        raise PayloadRefused(f"inputs here go through {limits.preprocess}, and {how}")
    if type(items) is not int or not 0 < items <= limits.items:
        raise PayloadRefused(f"it says that {items!r} real items are behind it; wanted is 1 to {limits.items}")
    warnings = _warnings(said.get("warnings", []))
    arrays = _arrays(blobs, limits)
    inputs = _decoded(arrays, limits)
    targets = _targets(arrays["targets"], len(inputs), limits)
    step_sizes, order = _step_sizes(arrays, limits.steps), _order(arrays, limits)
    try:
        tensors = dd.LabelledTensors(inputs, targets, cast(Any, loss), step_sizes, order, cast(float, momentum))
    except dd.BadArtefact as error:
        raise PayloadRefused(str(error)) from error
    return Shared(tensors, items, preprocess or None, warnings)


def _warnings(told: Any) -> tuple[str, ...]:
    if not isinstance(told, list) or len(told) > MOST_WARNINGS:
        raise PayloadRefused(f"its warnings are not a list of at most {MOST_WARNINGS} sentences")
    if not all(isinstance(one, str) and one.isprintable() and len(one) <= LONGEST_WARNING for one in told):
        raise PayloadRefused(f"one of its warnings is no line of text of at most {LONGEST_WARNING} characters")
    return tuple(told)


def _arrays(blobs: Mapping[str, bytes], limits: Limits) -> dict[str, np.ndarray]:
    known = {"inputs", "inputs.pairs", "inputs.low", "inputs.high", "targets", "step_sizes", "order"}
    if strange := sorted(str(name)[:50] for name in blobs.keys() - known):
        raise PayloadRefused(f"it holds the array {strange[0]!r}, which no set has")
    kinds = {"inputs", "inputs.pairs"} & blobs.keys()
    if missing := [name for name, there in (("inputs", kinds), ("targets", "targets" in blobs)) if not there]:
        raise PayloadRefused(f"it lacks {' and '.join(missing)}")
    if len(kinds) > 1:
        raise PayloadRefused("it has inputs twice, as bytes and two to a byte")
    return {name: _array(name, blob, limits.nbytes(name)) for name, blob in blobs.items()}


def _array(name: str, blob: bytes, most: int) -> np.ndarray:
    """The array of an npy file, whose header is read and weighed before anything is made of it."""
    if len(blob) > most:
        raise PayloadRefused(f"its {name} take {len(blob)} bytes, and {most} are the most that were asked for")
    stream = io.BytesIO(blob)
    try:
        read = READERS[np.lib.format.read_magic(stream)]
        shape, columns_first, dtype = read(stream, max_header_size=HEADER_BYTES)
    except Exception as error:  # a stranger's header: anything may come of parsing it
        raise PayloadRefused(f"its {name} are no npy file ({type(error).__name__})") from error
    if dtype.hasobject or dtype.name not in (*FLOATS, *WHOLE):
        raise PayloadRefused(f"its {name} are of dtype {dtype}; wanted is one of {', '.join((*FLOATS, *WHOLE))}")
    if len(shape) > MOST_AXES or any(type(length) is not int for length in shape):
        raise PayloadRefused(f"its {name} have a shape of {len(shape)} axes, which no set has, or of no whole numbers")
    count = math.prod(shape)
    if min(shape, default=1) < 1:
        raise PayloadRefused(f"its {name} have the shape {shape}: they hold nothing")
    if count * dtype.itemsize != len(blob) - stream.tell():
        raise PayloadRefused(f"its {name} claim the shape {shape}, which their bytes do not fill exactly")
    return np.frombuffer(blob, dtype, count, stream.tell()).reshape(shape, order="F" if columns_first else "C")


def _floats(name: str, array: np.ndarray, largest: float) -> Tensor:
    if array.dtype.name not in FLOATS:
        raise PayloadRefused(f"its {name} are {array.dtype}; wanted are floats")
    values = torch.from_numpy(array.astype(np.float32))
    if not bool(values.isfinite().all()):
        raise PayloadRefused(f"its {name} hold NaN or infinite numbers")
    if float(values.abs().max()) > largest:
        raise PayloadRefused(
            f"its {name} reach {float(values.abs().max()):.3g}, and {largest:g} is the largest allowed"
        )
    return values


def _decoded(arrays: Mapping[str, np.ndarray], limits: Limits) -> Tensor:
    pairs = arrays.get("inputs.pairs")
    array, bits = (arrays["inputs"], 8) if pairs is None else (pairs, 4)
    each = limits.shape if pairs is None else ((math.prod(limits.shape) + 1) // 2,)
    if array.shape[1:] != each or (pairs is not None and pairs.dtype != np.uint8):
        told = "" if pairs is None else f" that take {each[0]} bytes"
        raise PayloadRefused(f"its inputs are {array.dtype} {array.shape}, and items here are {limits.shape}{told}")
    if len(array) > limits.sets:
        raise PayloadRefused(
            f"it has {len(array)} items, and {limits.ipc} for each of {limits.classes} classes are most"
        )
    ranged = {"inputs.low", "inputs.high"} & arrays.keys()
    if array.dtype.name != "uint8":
        if ranged:
            raise PayloadRefused("it gives a range for inputs that are not bytes")
        return _floats("inputs", array, limits.largest)
    if len(ranged) < 2:
        raise PayloadRefused("its inputs are bytes, and it lacks inputs.low or inputs.high, the range they stand for")
    wide = (1, -1) + (1,) * (len(limits.shape) - 1)
    low, high = (_floats(name, arrays[name], limits.largest) for name in ("inputs.low", "inputs.high"))
    if low.shape != limits.shape[:1] or high.shape != limits.shape[:1] or not bool((high >= low).all()):
        raise PayloadRefused("its range is not a lowest and a highest value for each channel")
    shape = (len(array), *limits.shape)
    stored = torch.from_numpy(array.copy())
    values = dd.Levels.unpacked(stored, shape, low.view(wide), high.view(wide), cast(dd.Bits, bits)).values()
    return _floats("inputs", values.numpy(), limits.largest)


def _targets(array: np.ndarray, n: int, limits: Limits) -> Tensor:
    if array.shape not in ((n,), (n, limits.classes)):
        raise PayloadRefused(
            f"its targets are {array.shape}; wanted are {n} classes, or rows of {limits.classes} values for them"
        )
    if array.ndim == 2:
        return _floats("targets", array, limits.largest)
    if array.dtype.name not in WHOLE:
        raise PayloadRefused(f"its targets are {array.dtype}; classes are whole numbers")
    targets = torch.from_numpy(array.astype(np.int64))
    if int(targets.min()) < 0 or int(targets.max()) >= limits.classes:
        raise PayloadRefused(f"a target is outside the classes 0 to {limits.classes - 1}")
    if int(targets.bincount().max()) > limits.ipc:
        raise PayloadRefused(f"class {int(targets.bincount().argmax())} has more than {limits.ipc} items")
    return targets


def _step_sizes(arrays: Mapping[str, np.ndarray], most: int) -> Tensor | None:
    if "step_sizes" not in arrays:
        return None
    values = _floats("step_sizes", arrays["step_sizes"], LARGEST_STEP)
    if values.numel() > most:
        raise PayloadRefused(f"its step_sizes are {values.numel()}, and {most} are the most")
    return values


def _order(arrays: Mapping[str, np.ndarray], limits: Limits) -> Tensor | None:
    if "order" not in arrays:
        return None
    array = arrays["order"]
    if array.ndim != 2 or len(array) > limits.steps or array.dtype.name not in WHOLE:
        raise PayloadRefused(f"its order is not a table of at most {limits.steps} steps of whole numbers")
    return torch.from_numpy(array.astype(np.int64))
