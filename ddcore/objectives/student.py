"""A student: a network that is trained on S, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ddcore.context import Context
from ddcore.device import sent
from ddcore.networks.seeded import seeded
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params, Transform
from ddcore.unroll import UnrollMemory, Way, unroll


class Student:
    """Training on S: its items decoded once, as leaves in which the gradients of all steps gather.

    Step i sees the items ``rows[i]`` (b,), under its own draw of the recipe's augmentation, drawn separately for each
    item.
    """

    def __init__(self, draw: Draw, synthetic: SyntheticSet, rows: Sequence[Tensor], ctx: Context) -> None:
        self._draw, self._synthetic = draw, synthetic
        self._rows = [sent(r, ctx.device) for r in rows]
        self._transforms: list[Transform] = [ctx.transform(len(r)) for r in rows]
        self._seeds = [0] * len(rows)
        if draw.network.stochastic:  # a step that is computed again draws the same
            self._seeds = torch.randint(2**62, (len(rows),), generator=ctx.rng["network"]).tolist()
        self._decoded = synthetic.everything()
        self._leaves = tuple(made.detach().requires_grad_(made.requires_grad) for made in self._decoded)

    def loss(self, i: int, params: Params) -> Tensor:
        """The mean loss () of step ``i`` at ``params``."""
        (x, y), rows = self._leaves, self._rows[i]
        network = seeded(self._draw.network, torch.Generator().manual_seed(self._seeds[i]))
        draw = replace(self._draw, network=network)
        return self._synthetic.labels.loss(draw(self._transforms[i](x[rows]), params), y[rows]).mean()

    def trained(self, lr: Tensor, momentum: float, memory: UnrollMemory, window: int | None = None) -> Way:
        """Where the steps lead from ``draw.params``, at the step size ``lr``, () or one per step (t,)."""
        learned = [*self._leaves, *self._synthetic.groups().get("step_size", ())]
        leaves = [leaf for leaf in learned if leaf.requires_grad]
        return unroll(self.loss, self._draw.params, len(self._rows), lr, leaves, momentum, memory, window)

    def backward_to_parameters(self) -> None:
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
