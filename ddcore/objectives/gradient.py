"""Gradient matching: gradients of the training loss on S against those on T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ddcore.distance import Distance, FilterCosine
from ddcore.gate import Context, cross_entropy
from ddcore.objectives.base import Objective
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class GradientMatch(Objective):
    """L = sum_c D( grad l(S_c; theta), grad l(T_c; theta) ), l the mean loss, one joint step for all classes.

    ``real`` is the items of T drawn a class and step. Each class has one augmentation, shared by T and S.
    One class's graph is held at a time: the sum of their gradients is the gradient of the sum.

    ``scope = "all"`` matches D( grad l(S; theta), grad l(T; theta) ) on batches of all classes instead: ``real`` items
    of T a step, one augmentation.

    Reference: Zhao, Mopuri and Bilen, ICLR 2021, Eq. 9 and 10; with an augmentation, Zhao and Bilen, ICML 2021, Eq. 8.
    """

    distance: Distance = FilterCosine()
    real: int = 256
    scope: Literal["class", "all"] = "class"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        scopes = [None] if self.scope == "all" else [(c,) for c in range(ctx.card.classes)]
        groups = [Group(classes, self.real, ctx.view()) for classes in scopes]
        real = ctx.gate.gradient(draw, groups, cross_entropy)
        params = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        learned = [parameter for group in synthetic.groups().values() for parameter in group]
        total = 0.0
        for group, target in zip(groups, real, strict=True):
            inputs, targets = synthetic.take(synthetic.pick(group.classes or range(ctx.card.classes)))
            value = synthetic.labels.loss(draw(group.seen(inputs), params), targets).mean()
            gradients = torch.autograd.grad(value, list(params.values()), create_graph=True)
            loss = self.distance(dict(zip(params, gradients, strict=True)), target)
            loss.backward(inputs=learned)
            total += float(loss.detach())
        yield total
