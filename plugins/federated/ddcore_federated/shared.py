"""What clients send in place of weights: small sets, in the classes of the whole problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Shared:
    """A distilled set as it is shared; something that networks can be trained on.

    Raises:
        BadArtefact: tensors that do not fit together, or that hold NaN or infinity.
    """

    inputs: Tensor
    """(n, ...) float32, as networks take them: after the declared preprocessing."""
    targets: Tensor
    """Classes (n,) of the whole problem, or one row of label values an item (n, k)."""
    loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    """What the targets are made for."""
    step_sizes: Tensor | None = None
    """Learned learning rates (t,): of the steps of ``order``, or without one for all steps."""
    order: Tensor | tuple[Tensor, ...] | None = None
    """The items (t, b) that each of t steps shall see, where S is made for these steps; rows of a union may differ."""
    momentum: float = 0.0
    """That of SGD in these steps."""
    items: int = 0
    """Real items behind it; public."""

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if not n or len(self.targets) != n or self.targets.ndim not in (1, 2):
            _refuse(f"it has {n} inputs and targets of {tuple(self.targets.shape)}")
        if not self.inputs.is_floating_point():
            _refuse(f"its inputs are {self.inputs.dtype}")
        for name in ("inputs", "targets", "step_sizes"):
            value = getattr(self, name)
            if value is not None and value.is_floating_point() and not bool(value.isfinite().all()):
                _refuse(f"its {name} hold NaN or infinity")
        classes = self.targets.ndim == 1
        sound = self.targets.dtype == torch.int64 if classes else self.targets.is_floating_point()
        if not sound or (classes and self.loss != "cross_entropy"):
            _refuse(f"its targets are {self.targets.dtype} {tuple(self.targets.shape)} for the loss {self.loss}")
        sizes, order = self.step_sizes, self.order
        if sizes is not None and (sizes.ndim != 1 or not len(sizes) or not bool((sizes > 0).all())):
            _refuse("its step sizes are not a row of numbers above zero")
        if order is not None:
            if any(row.ndim != 1 or row.dtype != torch.int64 for row in order):
                _refuse("its order is not one row of items a step")
            if not len(order) or any(not len(row) or int(row.min()) < 0 or int(row.max()) >= n for row in order):
                _refuse(f"its order has steps without items, or names some that are not among its {n}")
            if sizes is None or len(sizes) != len(order):
                _refuse(f"it has {len(order)} steps in order and {0 if sizes is None else len(sizes)} step sizes")
        if not 0 <= self.momentum < 1 or self.items < 0:
            _refuse(f"its momentum is {self.momentum} and it speaks for {self.items} items")

    @staticmethod
    def of(distilled: dd.DistilledSet, classes: Sequence[int], k: int) -> Shared:
        """``distilled`` from a shard whose class i is ``classes[i]`` of the k in the whole problem.

        Label values of classes that the shard lacks are 0.
        """
        own, targets = torch.tensor(list(classes)), distilled.targets
        if targets.ndim == 1:
            targets = own[targets]
        else:
            rows = targets.new_zeros(len(targets), k)
            rows[:, own] = targets[:, : len(own)]
            targets = rows
        return Shared(
            inputs=distilled.inputs,
            targets=targets,
            loss=distilled.loss,
            step_sizes=distilled.step_sizes,
            order=distilled.order,
            momentum=distilled.momentum,
            items=sum(distilled.data.counts),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors as they are."""
        order = self.order or () if isinstance(self.order, tuple | None) else (self.order,)
        tensors = (self.inputs, self.targets, self.step_sizes, *order)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at ``index`` (n,)."""
        return self.inputs[index], self.targets[index]

    def check(self, card: dd.DataCard) -> None:
        """Raises BadArtefact where it is not a set for the problem ``card``."""
        if tuple(self.inputs.shape[1:]) != card.shape:
            _refuse(f"its items are {tuple(self.inputs.shape[1:])}, those of {card.name} {card.shape}")
        if self.targets.ndim == 2 and self.targets.shape[1] != card.classes:
            _refuse(f"its targets have {self.targets.shape[1]} values an item, {card.name} has {card.classes} classes")
        if self.targets.ndim == 1 and not 0 <= int(self.targets.min()) <= int(self.targets.max()) < card.classes:
            _refuse(f"its classes are not all from 0 to {card.classes - 1}")


def _refuse(why: str) -> None:
    raise dd.BadArtefact(f"The set cannot be used: {why}.")


def _rows(targets: Tensor, k: int) -> Tensor:
    """Classes (n,) one-hot; rows as they are."""
    return torch.eye(k)[targets] if targets.ndim == 1 else targets


def union(sets: Sequence[Shared], k: int) -> Shared:
    """The items of all ``sets`` together; where they have orders, the sets take turns, step by step.

    Raises:
        BadArtefact: no set, or sets that are made for different losses or momenta, or some with an order and some not.
    """
    if not sets:
        _refuse("it is the union of none")
    for name in ("loss", "momentum"):
        if len(found := {getattr(s, name) for s in sets}) > 1:
            _refuse(f"its parts are made for a {name} of {' and '.join(map(str, sorted(found)))}")
    ordered = [s for s in sets if s.order is not None]
    if len(ordered) not in (0, len(sets)):
        _refuse("some of its parts come with an order of steps and some without")
    rows = any(s.targets.ndim == 2 for s in sets)
    stepped = all(s.step_sizes is not None for s in sets)
    starts = torch.tensor([0, *(len(s) for s in sets)]).cumsum(0).tolist()
    steps = [
        [(row + start, size) for row, size in zip(s.order, s.step_sizes, strict=True)]
        for s, start in zip(ordered, starts, strict=False)
    ]
    turns = [step for turn in zip_longest(*steps) for step in turn if step is not None]
    sizes = torch.stack([size for _, size in turns]) if turns else None
    if stepped and sizes is None:
        sizes = torch.cat([s.step_sizes for s in sets])
    return Shared(
        inputs=torch.cat([s.inputs for s in sets]),
        targets=torch.cat([_rows(s.targets, k) if rows else s.targets for s in sets]),
        loss=sets[0].loss,
        step_sizes=sizes,
        order=tuple(row for row, _ in turns) or None,
        momentum=sets[0].momentum,
        items=sum(s.items for s in sets),
    )
