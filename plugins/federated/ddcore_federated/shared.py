"""What clients send in place of weights: small sets, in the classes of the whole problem."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import torch
from torch import Tensor

from ddcore import plugin as dd

FEW = 4
"""Numbers of a tensor that are said one by one."""


@dataclass(frozen=True)
class Shared(dd.HoldsTensors):
    """A distilled set as it is shared; something that networks can be trained on.

    Raises:
        BadArtefact: it speaks for fewer than no items.
    """

    tensors: dd.LabelledTensors
    """Its classes are those of the whole problem, its inputs after the declared preprocessing."""
    items: int = 0
    """Real items behind it; public."""
    preprocess: str | None = None
    """What its inputs went through, as :func:`in_words` says it; None where nobody said."""
    warnings: tuple[str, ...] = ()
    """Those of its card, which whoever is shown the set must read. A client that keeps them to itself is not found."""

    def __post_init__(self) -> None:
        if self.items < 0:
            _refuse(f"it speaks for {self.items} items")

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
        said = in_words(distilled.preprocess, distilled.preprocess_state)
        items = sum(distilled.data.counts)
        return Shared(replace(distilled.tensors, targets=targets), items, said, distilled.warnings)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors as they are."""
        return self.tensors.nbytes

    def check(self, card: dd.DataCard) -> None:
        """Raises BadArtefact where it is not a set for the problem ``card``."""
        self.tensors.check(card)


def in_words(preprocess: str, state: Mapping[str, Tensor]) -> str:
    """The name of a preprocessing and its numbers, or a hash of them where they are many: two are alike if this is."""
    said = []
    for name, value in sorted(state.items()):
        numbers = value.float().flatten()
        few = ", ".join(f"{number:.5g}" for number in numbers[:FEW].tolist())
        digest = hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:16]
        said.append(f"{name} {few if len(numbers) <= FEW else digest}")
    return f"{preprocess} ({'; '.join(said)})" if said else preprocess


def _refuse(why: str) -> None:
    raise dd.BadArtefact(f"The set cannot be used: {why}.")


def _rows(targets: Tensor, k: int) -> Tensor:
    """Classes (n,) one-hot; rows as they are."""
    return torch.eye(k)[targets] if targets.ndim == 1 else targets


def union(sets: Sequence[Shared], k: int) -> Shared:
    """The items of all ``sets`` together; where they have orders, the sets take turns, step by step.

    Raises:
        BadArtefact: no set, or sets that went through different preprocessings, are made for different losses or
            momenta, or some with an order and some not.
    """
    if not sets:
        _refuse("it is the union of none")
    said = {s.preprocess for s in sets} - {None}
    if len(said) > 1:
        _refuse(f"its parts went through {' and '.join(sorted(map(str, said)))}")
    for name in ("loss", "momentum"):
        if len(found := {getattr(s, name) for s in sets}) > 1:
            _refuse(f"its parts are made for a {name} of {' and '.join(map(str, sorted(found)))}")
    ordered = [(s.order, s.step_sizes) for s in sets if s.order is not None and s.step_sizes is not None]
    if len(ordered) not in (0, len(sets)):
        _refuse("some of its parts come with an order of steps and some without")
    rows = any(s.targets.ndim == 2 for s in sets)
    own_sizes = [s.step_sizes for s in sets if s.step_sizes is not None]
    starts = torch.tensor([0, *(len(s) for s in sets)]).cumsum(0).tolist()
    steps = [
        [(row + start, size) for row, size in zip(order, sizes, strict=True)]
        for (order, sizes), start in zip(ordered, starts, strict=False)
    ]
    turns = [step for turn in zip_longest(*steps) for step in turn if step is not None]
    sizes = torch.stack([size for _, size in turns]) if turns else None
    if sizes is None and len(own_sizes) == len(sets):
        sizes = torch.cat(own_sizes)
    together = dd.LabelledTensors(
        inputs=torch.cat([s.inputs for s in sets]),
        targets=torch.cat([_rows(s.targets, k) if rows else s.targets for s in sets]),
        loss=sets[0].loss,
        step_sizes=sizes,
        order=tuple(row for row, _ in turns) or None,
        momentum=sets[0].momentum,
    )
    warnings = dict.fromkeys(warning for s in sets for warning in s.warnings)
    return Shared(together, sum(s.items for s in sets), next(iter(said), None), tuple(warnings))
