"""Training as a function: many steps of a network forward, and their derivatives back.

SGD with momentum from a start w_0, m_0 = 0:

    g_i = dl_i(w_i)/dw,    m_{i+1} = mu m_i + g_i,    w_{i+1} = w_i - a m_{i+1}

l_i may depend on anything (S's inputs, its targets), and so may the step size a. Given v = dL/dw_n, the derivative
of L goes back through the steps. With v_w = v and v_m = 0, from the last step to the first:

    v_m <- v_m - a v_w,      dL/da -= <m_{i+1}, v_w>,
    dL/dx += d<g_i, v_m>/dx,      v_w += d<g_i, v_m>/dw_i,      v_m <- mu v_m

so only the weights of each step are kept. The graphs of the first steps are kept as well, as many as some memory of
fixed size holds; each of the others is made again when the way back comes by, one at a time. Where L looks at earlier
weights w_i too, dL/dw_i is added to v_w when the way back comes by.

Reference: Maclaurin, Duvenaud and Adams, Gradient-Based Hyperparameter Optimization through Reversible Learning,
ICML 2015, Algorithm 2, with stored weights in place of reversed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ddcore.chunking import chunk_bytes
from ddcore.fast import fast
from ddcore.types import Params

UnrollMemory = Literal["full", "exact", "tesla"]
"""How a derivative goes back through the steps.

``full``: one graph over all steps, whose memory grows with them; the oracle. ``exact``: the same derivative at flat
memory, from the weights of each step and some of their graphs. ``tesla``: as ``exact``, but later weights are taken not
to depend on what a step saw, so the term d<g_i, v_m>/dw_i is left out (Cui et al., TESLA, ICML 2023). It is not the
exact derivative.
"""

GRAPHS = 16
"""Chunks (:func:`ddcore.chunking.chunk_bytes`) that the graphs kept of an unrolled training may take."""

StepLoss = Callable[[int, Params], Tensor]
"""The loss () of step i at the given weights."""


@dataclass(frozen=True)
class Way:
    """A trained network and how it came there."""

    points: dict[int, Params]
    """The weights after so many steps, detached: of the steps that a derivative goes back through, and the last."""
    _pull: Callable[[Mapping[int, Params]], None]

    @property
    def end(self) -> Params:
        """w_n."""
        return self.points[max(self.points)]

    def backward(self, cotangent: Params, earlier: Mapping[int, Params] = MappingProxyType({})) -> None:
        """Add to the gradients of the leaves what a change of ``end`` along ``cotangent`` (dL/dw_n) owes to them.

        ``earlier`` holds dL/dw_i of other ``points``.
        """
        self._pull({**earlier, max(self.points): cotangent})


def unroll(
    loss: StepLoss,
    start: Params,
    steps: int,
    lr: Tensor,
    leaves: Sequence[Tensor],
    momentum: float = 0.0,
    memory: UnrollMemory = "exact",
    window: int | None = None,
) -> Way:
    """Train from ``start`` for ``steps`` steps of ``loss`` at the step size ``lr``: () for all, or one a step (n,).

    ``leaves`` are the tensors that ``loss`` and ``lr`` may depend on and that shall get gradients. With ``window`` the
    derivative goes back through the last so many steps only, and what came before counts as given.
    """
    first = 0 if window is None else max(0, steps - window)
    at = _Layout({name: value.shape for name, value in start.items()})
    if memory == "full":
        return _graphed(loss, at, at.flat(start), steps, lr, leaves, momentum, first)
    rates = lr.detach().expand(steps)
    here = at.flat(start).detach()
    velocity = torch.zeros_like(here)
    weights, velocities = {0: here}, {0: velocity}
    graphs, kept = {}, _Graphs(here.device)
    for i in range(steps):
        if i >= first and kept.room:
            with kept:
                graphs[i] = _gradient(loss, at, i, here, graph=True)
            gradient = graphs[i][1].detach()
        else:
            gradient = _gradient(loss, at, i, here, graph=False)[1]
        velocity = momentum * velocity + gradient if momentum else gradient
        here = here - rates[i] * velocity
        weights[i + 1] = here
        if momentum:
            velocities[i + 1] = velocity
        if i < first:
            del weights[i]
            velocities.pop(i, None)

    def pull(cotangents: Mapping[int, Params]) -> None:
        toward, pushed, owed = torch.zeros_like(here), torch.zeros_like(here), torch.zeros_like(rates)
        for i in reversed(range(first, steps)):
            if i + 1 in cotangents:
                toward = toward + at.flat(cotangents[i + 1])
            before, gradient = graphs.pop(i, None) or _gradient(loss, at, i, weights[i], graph=True)
            owed[i] = -((velocities[i + 1] if momentum else gradient.detach()) * toward).sum()
            pushed = pushed - rates[i] * toward
            seen = [before, *leaves] if memory == "exact" else leaves
            found = torch.autograd.grad(gradient, seen, pushed, allow_unused=True, materialize_grads=True)
            if memory == "exact":
                toward = toward + found[0]
            for leaf, f in zip(leaves, found[len(found) - len(leaves) :], strict=True):
                leaf.grad = f if leaf.grad is None else leaf.grad + f
            pushed = momentum * pushed
        if lr.requires_grad:
            torch.autograd.backward(lr, owed.sum() if lr.ndim == 0 else owed, inputs=list(leaves))

    return Way({i: at.named(value) for i, value in weights.items()}, pull)


class _Graphs(saved_tensors_hooks):
    """Counts the memory of graphs that are made within it; ``room`` says whether another one as large fits."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(self._counted, lambda value: value)
        self.left = GRAPHS * chunk_bytes(device) if fast() else 0
        self.storages: set[int] = set()
        self.room = self.left > 0

    def _counted(self, value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in self.storages:
            self.storages.add(storage.data_ptr())
            self.left -= storage.nbytes()
        return value

    def __enter__(self) -> None:
        self.before = self.left
        super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self.room = self.left >= self.before - self.left


@dataclass(frozen=True)
class _Layout:
    """Where each parameter stands in one vector of all of them: one operation on it is one on all."""

    shapes: Mapping[str, torch.Size]

    def flat(self, params: Params) -> Tensor:
        return torch.cat([params[name].flatten() for name in self.shapes])

    def named(self, flat: Tensor) -> Params:
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


def _gradient(loss: StepLoss, at: _Layout, i: int, weights: Tensor, graph: bool) -> tuple[Tensor, Tensor]:
    """A leaf at ``weights`` and the loss's gradient there."""
    here = weights.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(i, at.named(here)), here, create_graph=graph)
    return here, gradient


def _graphed(
    loss: StepLoss,
    at: _Layout,
    start: Tensor,
    steps: int,
    lr: Tensor,
    leaves: Sequence[Tensor],
    momentum: float,
    first: int,
) -> Way:
    rates = lr.expand(steps)
    weights = start.detach().requires_grad_()
    velocity = torch.zeros_like(weights)
    points = {0: weights}
    for i in range(steps):
        (gradient,) = torch.autograd.grad(loss(i, at.named(weights)), weights, create_graph=True)
        velocity = momentum * velocity + gradient
        weights = weights - rates[i] * velocity
        if i < first:
            weights, velocity = weights.detach().requires_grad_(), velocity.detach()
            points.clear()
        points[i + 1] = weights

    def pull(cotangents: Mapping[int, Params]) -> None:
        held = [(points[i], at.flat(params)) for i, params in cotangents.items()]
        torch.autograd.backward([weight for weight, _ in held], [value for _, value in held], inputs=list(leaves))

    return Way({i: at.named(value.detach()) for i, value in points.items()}, pull)
