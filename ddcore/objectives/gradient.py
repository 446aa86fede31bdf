"""Gradient matching: gradients of the training loss on S against those on T."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddcore.bounds import Count, NotNegative, Whole
from ddcore.context import Context
from ddcore.distance import Distance, FilterCosine
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import loss_on_real
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group, Params


@dataclass(frozen=True)
class GradientMatch(Objective):
    """How far the gradients of the mean loss on S are from those on T.

    With s_c = grad l(S_c; theta) and t_c = grad l(T_c; theta) of class c, and D the ``distance``, ``scope`` says

    - ``class``: sum_c D(s_c, t_c);
    - ``sum``: D(sum_c s_c, sum_c t_c), after ``warmup`` steps of ``class``;
    - ``both``: sum_c D(s_c, t_c) + ``weight`` D(sum_c s_c, sum_c t_c);
    - ``all``: D(grad l(S; theta), grad l(T; theta)) on batches of all classes.

    Each class has one augmentation, shared by T and S, and one request asks for all classes. One class's graph is held
    at a time, and that is exact: the sums are known from a pass without graphs, and their pull dD/dsum is then taken
    back through each s_c. Items that know each other, whose classes hang on the same links, are seen once and together.

    **References**: ``class``, Zhao, Mopuri and Bilen, ICLR 2021, Eq. 9 and 10; with an augmentation, Zhao and Bilen,
    ICML 2021, Eq. 8; a step per class, Kim et al., ICML 2022; ``sum``, Lee et al., ICML 2022; ``both``, Jiang et al.,
    2022.
    """

    distance: Distance = FilterCosine()
    """Distance D between two gradients."""
    real: Count = 256
    """Items of T per class and step, or per step with ``scope`` all. Published: 256."""
    scope: Literal["class", "sum", "both", "all"] = "class"
    """Which gradients are compared: see above."""
    warmup: Whole = 0
    """First steps of S that compare class by class, with ``scope`` sum."""
    weight: NotNegative = 1.0
    """Weight of the second term, with ``scope`` both."""
    joint: bool = True
    """One step of S for all classes; false steps after every class, with ``scope`` class alone."""

    def faults(self) -> Iterator[str]:
        if not self.joint and self.scope != "class":
            yield (
                f"joint = false steps after every class, but scope = {self.scope!r} compares classes together: take"
                ' scope = "class"'
            )

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        scopes = [None] if self.scope == "all" else [(c,) for c in range(ctx.card.classes)]
        groups = [Group(classes, self.real, ctx.transform()) for classes in scopes]
        real = ctx.gate.gradient(draw, groups, loss_on_real(synthetic.labels, ctx.card.classes))
        params = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        learned = [parameter for group in synthetic.groups().values() for parameter in group]
        warm = self.scope == "sum" and ctx.step() < self.warmup
        apart, together = self.scope != "sum" or warm, self.scope in ("sum", "both") and not warm
        if self.joint and not ctx.card.apart:
            mine = _gradients_by_group(draw, synthetic, groups, params, ctx)
            loss = torch.zeros((), device=ctx.device)
            if apart:
                loss = torch.stack([self.distance(s, t) for s, t in zip(mine, real, strict=True)]).sum()
            if together:
                loss = loss + self._weighted(_summed(mine), _summed(real))
            loss.backward(inputs=learned)
            yield float(loss.detach())
            return

        def gradient(group: Group, graph: bool) -> Params:
            inputs, targets = synthetic.take(synthetic.pick(group.classes or range(ctx.card.classes)))
            value = synthetic.labels.loss(draw(group.seen(inputs), params), targets).mean()
            found = torch.autograd.grad(value, list(params.values()), create_graph=graph)
            return dict(zip(params, found, strict=True))

        none = torch.zeros((), device=ctx.device)
        total, pull = self._together(groups, real, gradient) if together else (none, {})
        for group, target in zip(groups, real, strict=True):
            mine = gradient(group, True)
            heads, pulls = [mine[name] for name in pull], list(pull.values())
            if apart:
                loss = self.distance(mine, target)
                total = total + loss.detach()
                heads, pulls = [*heads, loss], [*pulls, torch.ones_like(loss)]
            torch.autograd.backward(heads, pulls, inputs=learned)
            if not self.joint:
                yield float(total)
                total = none
        if self.joint:
            yield float(total)

    def _together(
        self, groups: Sequence[Group], real: Sequence[Params], gradient: Callable[[Group, bool], Params]
    ) -> tuple[Tensor, Params]:
        """The distance D(sum_c s_c, sum_c t_c), weighted under ``both``, and its derivative in sum_c s_c."""
        mine = _summed(gradient(group, False) for group in groups)
        for value in mine.values():
            value.requires_grad_()
        loss = self._weighted(mine, _summed(real))
        pull = torch.autograd.grad(loss, list(mine.values()), materialize_grads=True)
        return loss.detach(), dict(zip(mine, pull, strict=True))

    def _weighted(self, mine: Params, real: Params) -> Tensor:
        return self.distance(mine, real) * (self.weight if self.scope == "both" else 1)


def _gradients_by_group(
    draw: Draw, synthetic: SyntheticSet, groups: Sequence[Group], params: Params, ctx: Context
) -> list[Params]:
    """The gradient of the mean loss on S's items of each group, with graphs, of one pass over all of S."""
    inputs, targets = synthetic.everything()
    losses = synthetic.labels.loss(draw(inputs, params), targets)
    found = []
    for group in groups:
        value = losses[synthetic.pick(group.classes or range(ctx.card.classes))].mean()
        found.append(torch.autograd.grad(value, list(params.values()), create_graph=True))
    return [dict(zip(params, gradients, strict=True)) for gradients in found]


def _summed(gradients: Iterable[Params]) -> Params:
    total: Params = {}
    for gradient in gradients:
        total = {name: total[name] + value if total else value for name, value in gradient.items()}
    return total
