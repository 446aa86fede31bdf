"""Labelled tensors: what networks are trained on, checked once, wherever it comes from and goes to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ddcore.errors import BadArtefact, DdcoreError
from ddcore.files import write_whole
from ddcore.losses import LOSSES, LossName
from ddcore.types import DataCard

CHECKSUMS = "sha256"
"""The entry of a file's metadata that :func:`write_tensors` adds."""


class _Checksums(BaseModel):
    """SHA-256 of each tensor with its name, dtype and shape, and of these together with the rest of the metadata."""

    tensors: dict[str, str]
    whole: str

    @staticmethod
    def of(sums: Mapping[str, str], metadata: Mapping[str, str]) -> _Checksums:
        text = json.dumps([dict(sums), {k: v for k, v in metadata.items() if k != CHECKSUMS}], sort_keys=True)
        return _Checksums(tensors=dict(sums), whole=hashlib.sha256(text.encode()).hexdigest())


def checksum(name: str, value: Tensor) -> str:
    """SHA-256 of ``value`` with its name, dtype and shape."""
    digest = hashlib.sha256(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
    row = value.contiguous().as_strided((value.numel(),), (1,))  # the stride of a single number may be any
    digest.update(row.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write ``tensors`` as safetensors, with checksums; an old file at ``path`` is replaced only by a whole new one.

    The same tensors and metadata give the same bytes.
    """
    held = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(tensors.items())}
    sums = _Checksums.of({name: checksum(name, value) for name, value in held.items()}, metadata or {})
    return write_whole(Path(path), _in_order(save(held, {**(metadata or {}), CHECKSUMS: sums.model_dump_json()})))


def _in_order(file: bytes) -> bytes:
    """The bytes of a safetensors ``file`` with its metadata sorted, which safetensors writes in any order."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[end:]


def read_tensors(
    path: str | os.PathLike[str],
    error: type[DdcoreError],
    remedy: str,
    only: Iterable[str] | None = None,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, those named by ``only`` or all, and its metadata. Runs no code of the file's.

    What is read is held to the file's checksums, where it has some.

    Raises:
        DdcoreError: there is no such file, it is cut short, it lacks a tensor, or it is no longer as it was written; it
            is an ``error`` whose sentence ends with ``remedy``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            there, metadata = file.keys(), file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in (there if only is None else only)}
    except FileNotFoundError:
        raise error(f"There is no file {path}. {remedy}") from None
    except (SafetensorError, OSError, ValueError) as reason:
        raise error(f"{path} is not a whole safetensors file ({reason}). {remedy}") from reason
    if CHECKSUMS in metadata and not _unchanged(tensors, there, metadata):
        raise error(f"{path} is damaged: it is not as it was written, by its checksums. {remedy}")
    return tensors, metadata


def _unchanged(tensors: Mapping[str, Tensor], there: Iterable[str], metadata: Mapping[str, str]) -> bool:
    """Whether ``tensors``, of a file in which those ``there`` lie, and its ``metadata`` are as they were written."""
    try:
        written = _Checksums.model_validate_json(metadata[CHECKSUMS])
    except ValidationError:
        return False
    sums = written.tensors
    return (
        written == _Checksums.of(sums, metadata)
        and sums.keys() == set(there)
        and all(checksum(name, value) == sums[name] for name, value in tensors.items())
    )


@dataclass(frozen=True)
class LabelledTensors:
    """Items with their targets, and the training that they were made for.

    Raises:
        BadArtefact: tensors that do not fit together, or that hold NaN or infinity.
    """

    inputs: Tensor
    """(n, ...) floats, as networks take them: preprocessed."""
    targets: Tensor
    """Classes (n,) int64, or one row of label values per item (n, k)."""
    loss: LossName = "cross_entropy"
    """What networks are trained with: the cross-entropy of the targets, or half the squared distance from them."""
    step_sizes: Tensor | None = None
    """Learned learning rates (t,): of t steps in their order, or one for all."""
    order: Tensor | tuple[Tensor, ...] | None = None
    """The items (t, b) that each of t training steps shall see, where S was made for one order; rows may differ."""
    momentum: float = 0.0
    """That of SGD in these steps."""

    def __post_init__(self) -> None:
        for fault in self._faults():
            raise BadArtefact(f"The set cannot be used: {fault}.")

    def _faults(self) -> Iterator[str]:
        """What is wrong, the first of which is told: each is said of what is otherwise right so far."""
        inputs, targets, sizes, order = self.inputs, self.targets, self.step_sizes, self.order
        n = len(inputs) if inputs.ndim else 0
        if not n or targets.ndim not in (1, 2) or len(targets) != n:
            yield f"it has {n} inputs and targets of {tuple(targets.shape)}"
        if inputs.ndim < 2 or not inputs.numel():
            yield f"its inputs are {tuple(inputs.shape)}, which are no items (n, ...)"
        if self.loss not in tuple(LOSSES):
            yield f"its loss is {self.loss!r}; known are {' and '.join(LOSSES)}"
        classes = targets.ndim == 1
        if targets.dtype != (torch.int64 if classes else torch.float32):
            yield (
                f"its targets are {targets.dtype} {tuple(targets.shape)}, neither int64 classes (n,) nor one row of"
                " float32 values per item"
            )
        for name, value in {"inputs": inputs, "targets": targets, "step_sizes": sizes}.items():
            if value is None or (name == "targets" and classes):
                continue
            if value.dtype != torch.float32:
                yield f"its {name} are {value.dtype}, not torch.float32"
            if not bool(value.isfinite().all()):
                yield f"its {name} hold NaN or infinite numbers"
        if classes and self.loss != "cross_entropy":
            yield f"its targets are classes, and its loss {self.loss!r} wants one row of label values per item"
        if sizes is not None and (sizes.ndim != 1 or not len(sizes) or not bool((sizes > 0).all())):
            yield "its step sizes are not a row of finite numbers above zero"
        if order is not None:
            table = isinstance(order, tuple) or order.ndim == 2
            if not table or not len(order) or any(r.ndim != 1 or not len(r) or r.dtype != torch.int64 for r in order):
                yield "its order is not one row of items per step"
            if any(int(row.min()) < 0 or int(row.max()) >= n for row in order):
                yield f"its order names items that are not among its {n}"
            if sizes is None or len(sizes) != len(order):
                yield f"it has {len(order)} steps in order and {0 if sizes is None else len(sizes)} step sizes"
        if not isinstance(self.momentum, int | float) or not 0 <= self.momentum < 1:
            yield f"its momentum is {self.momentum!r}, not at least 0 and below 1"

    def check(self, card: DataCard) -> None:
        """Raises BadArtefact where it is not a set for the problem ``card``."""
        shape, k, targets = tuple(self.inputs.shape[1:]), card.outputs, self.targets
        what = "classes" if card.values is None else "values per item"
        fault = None
        if shape != card.shape:
            fault = f"its items are {shape}, those of {card.name} {card.shape}"
        elif targets.ndim == 2 and targets.shape[1] != k:
            fault = f"its targets have {targets.shape[1]} values per item, {card.name} has {k} {what}"
        elif targets.ndim == 1 and card.values is not None:
            fault = f"its targets are classes, {card.name} has {k} {what}"
        elif targets.ndim == 1 and not 0 <= int(targets.min()) <= int(targets.max()) < k:
            fault = f"its targets are not classes from 0 to {k - 1}"
        if fault:
            raise BadArtefact(f"The set cannot be used: {fault}.")

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors as they are."""
        return sum(tensor.nbytes for tensor in self.state_dict().values())

    def state_dict(self) -> dict[str, Tensor]:
        """Its tensors by name; an order whose rows differ has one entry per step."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        rows = found["order"] if isinstance(found["order"], tuple) else ()
        tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        return {**tensors, **{f"order.{t}": row for t, row in enumerate(rows)}}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], loss: LossName = "cross_entropy", momentum: float = 0.0) -> Self:
        """What :meth:`state_dict` gave; other tensors are left alone.

        Raises:
            BadArtefact: inputs or targets are missing, or as for the class.
        """
        if missing := {"inputs", "targets"} - tensors.keys():
            raise BadArtefact(f"The set cannot be used: it lacks {' and '.join(sorted(missing))}.")
        steps = [name for name in tensors if name.startswith("order.")]
        if {*steps} != {f"order.{t}" for t in range(len(steps))} or (steps and "order" in tensors):
            raise BadArtefact("The set cannot be used: the steps of its order are not numbered from 0.")
        rows = tuple(tensors[f"order.{t}"] for t in range(len(steps))) or None
        return cls(
            tensors["inputs"], tensors["targets"], loss, tensors.get("step_sizes"), tensors.get("order", rows), momentum
        )

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at ``index`` (n,)."""
        return self.inputs[index], self.targets[index]


class HoldsTensors:
    """A set that networks can be trained on, by what its ``tensors`` are."""

    tensors: LabelledTensors

    @property
    def inputs(self) -> Tensor:
        """(n, ...) floats, as networks take them: preprocessed."""
        return self.tensors.inputs

    @property
    def targets(self) -> Tensor:
        """Classes (n,) int64, or one row of label values per item (n, k)."""
        return self.tensors.targets

    @property
    def loss(self) -> LossName:
        """What networks are trained with."""
        return self.tensors.loss

    @property
    def step_sizes(self) -> Tensor | None:
        """Learned learning rates (t,), None where it brings none."""
        return self.tensors.step_sizes

    @property
    def order(self) -> Tensor | tuple[Tensor, ...] | None:
        """The items (t, b) that each of t training steps shall see, None where it is made for any order."""
        return self.tensors.order

    @property
    def momentum(self) -> float:
        """That of SGD in the steps of ``order``."""
        return self.tensors.momentum

    def __len__(self) -> int:
        return len(self.tensors)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at ``index`` (n,)."""
        return self.tensors.take(index)
