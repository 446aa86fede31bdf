"""What every objective is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddcore.gate import Context, cross_entropy, squared
from ddcore.parts import Part
from ddcore.synthetic import LabelModule, SyntheticSet
from ddcore.types import Draw, ItemLoss, Network, Params, Replay, Transform
from ddcore.unroll import Memory, Way, unroll


class Objective(Part, kind="objective"):
    """Says how far S is from T at a network, and writes the gradient of that.

    An objective writes gradients instead of returning a loss, so that a method may hold one class in memory
    at a time, or step more often than once.
    """

    @property
    def step_sizes(self) -> int:
        """Learned step sizes that S must bring for it to train at: none, one for all steps, or one a step."""
        return max((part.step_sizes for _, part in self.parts() if isinstance(part, Objective)), default=0)

    @property
    def wants_teacher(self) -> bool:
        """It makes sense only at networks that were trained on T."""
        return any(part.wants_teacher for _, part in self.parts() if isinstance(part, Objective))

    def replay(self, synthetic: SyntheticSet) -> Replay | None:
        """The training on S that S is made for, where its order matters; None where it does not."""
        found = [part.replay(synthetic) for _, part in self.parts() if isinstance(part, Objective)]
        return next((replay for replay in found if replay is not None), None)

    def check(self, network: Network) -> None:
        """Raises RecipeRefused where it, or a part it holds, cannot be had of ``network``."""
        for _, part in self.parts():
            if isinstance(part, Objective):
                part.check(network)

    @abstractmethod
    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        """Add to the gradients of ``synthetic``; each yield (of the loss) means: written, step now."""


class LossObjective(Objective):
    """The common case: one loss, one step."""

    @abstractmethod
    def loss(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Tensor: ...

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        value = self.loss(draw, synthetic, ctx)
        value.backward()
        yield float(value.detach())


def by_bytes(synthetic: SyntheticSet, classes: Sequence[int], ctx: Context) -> Iterator[list[int]]:
    """The classes in lots whose items of S fit one chunk of memory, at least one class in each."""
    lot: list[int] = []
    held = 0
    counts = torch.bincount(synthetic.carrier.classes, minlength=ctx.card.classes).tolist()
    for c in classes:
        if lot and held + counts[c] > ctx.room:
            yield lot
            lot, held = [], 0
        lot.append(c)
        held += counts[c]
    if lot:
        yield lot


class Student:
    """Training on S: its items decoded once, as leaves in which the gradients of all steps gather.

    Step i sees the items ``rows[i]`` (b,), under its own draw of the recipe's augmentation, an item its own.
    """

    def __init__(self, draw: Draw, synthetic: SyntheticSet, rows: Sequence[Tensor], ctx: Context) -> None:
        self._draw, self._synthetic, self._rows = draw, synthetic, rows
        self._views: list[Transform] = [ctx.view(len(r)) for r in rows]
        self._decoded = synthetic.everything()
        self._leaves = tuple(made.detach().requires_grad_(made.requires_grad) for made in self._decoded)

    def loss(self, i: int, params: Params) -> Tensor:
        """The mean loss () of step ``i`` at ``params``."""
        (x, y), rows = self._leaves, self._rows[i]
        return self._synthetic.labels.loss(self._draw(self._views[i](x[rows]), params), y[rows]).mean()

    def trained(self, lr: Tensor, momentum: float, memory: Memory, window: int | None = None) -> Way:
        """Where the steps lead from ``draw.params``, at the step size ``lr``, () or one a step (t,)."""
        learned = [*self._leaves, *self._synthetic.groups().get("step_size", ())]
        leaves = [leaf for leaf in learned if leaf.requires_grad]
        return unroll(self.loss, self._draw.params, len(self._rows), lr, leaves, momentum, memory, window)

    def settle(self) -> None:
        """Send what the leaves were given back to what they were decoded from."""
        pairs = zip(self._decoded, self._leaves, strict=True)
        held = [(made, leaf.grad) for made, leaf in pairs if made.requires_grad and leaf.grad is not None]
        torch.autograd.backward([made for made, _ in held], [grad for _, grad in held])


def shuffled(items: int, size: int | None, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Rows of each step: permutations of all items, one after another, cut to ``size`` (None: all items)."""
    if size is None or size >= items:
        return [torch.arange(items)] * steps
    rows: list[Tensor] = []
    while len(rows) < steps:
        rows += torch.randperm(items, generator=generator).split(size)
    return rows[:steps]


def loss_on_real(labels: LabelModule, k: int) -> ItemLoss:
    """The loss on T's classes that goes with what S's labels train networks by."""
    if labels.loss_name == "cross_entropy":
        return cross_entropy
    return lambda outputs, classes: squared(outputs, labels.encoded(classes, k).to(outputs))


def taking_turns(classes: Tensor) -> Tensor:
    """An order (n,) of items with ``classes`` (n,): one of each class, then the next of each."""
    rank = torch.zeros_like(classes)
    for c in classes.unique():
        mine = classes == c
        rank[mine] = torch.arange(int(mine.sum()), device=classes.device)
    return rank.argsort(stable=True)
