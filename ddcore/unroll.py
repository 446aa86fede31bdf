"""Training as a function: many steps of a network forward, and their derivatives back.

SGD with momentum from a start w_0, m_0 = 0:

    g_i = dl_i(w_i)/dw,    m_{i+1} = mu m_i + g_i,    w_{i+1} = w_i - a m_{i+1}

l_i may depend on anything (S's inputs, its targets), and so may the step size a. Given v = dL/dw_n, the derivative
of L goes back through the steps. With v_w = v and v_m = 0, from the last step to the first:

    v_m <- v_m - a v_w,      dL/da -= <m_{i+1}, v_w>,
    dL/dx += d<g_i, v_m>/dx,      v_w += d<g_i, v_m>/dw_i,      v_m <- mu v_m

so only the weights of each step are kept, and one step's graph is held at a time. Where L looks at earlier weights w_i
too, dL/dw_i is added to v_w when the way back comes by.

Reference: Maclaurin, Duvenaud and Adams, Gradient-Based Hyperparameter Optimization through Reversible Learning,
ICML 2015, Algorithm 2, with stored weights in place of reversed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from ddcore.types import Params

UnrollMemory = Literal["full", "exact", "tesla"]
"""How a derivative goes back through the steps.

``full``: one graph over all steps, whose memory grows with them; the oracle. ``exact``: the same derivative at flat
memory, from the weights of each step. ``tesla``: as ``exact``, but later weights are taken not to depend on what a step
saw, so the term d<g_i, v_m>/dw_i is left out (Cui et al., TESLA, ICML 2023). It is not the exact derivative.
"""

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
    if memory == "full":
        return _graphed(loss, start, steps, lr, leaves, momentum, first)
    rates = lr.detach().expand(steps)
    here = {name: value.detach() for name, value in start.items()}
    velocity = {name: torch.zeros_like(value) for name, value in start.items()}
    weights, velocities = {0: here}, {0: velocity}
    for i in range(steps):
        gradient = _gradient(loss, i, here, graph=False)[1]
        velocity = {name: momentum * m + gradient[name] for name, m in velocity.items()} if momentum else gradient
        here = {name: w - rates[i] * velocity[name] for name, w in here.items()}
        weights[i + 1] = here
        if momentum:
            velocities[i + 1] = velocity
        if i < first:
            del weights[i]
            velocities.pop(i, None)

    def pull(cotangents: Mapping[int, Params]) -> None:
        toward = {name: torch.zeros_like(value) for name, value in here.items()}
        pushed = {name: torch.zeros_like(value) for name, value in here.items()}
        owed = torch.zeros_like(rates)
        for i in reversed(range(first, steps)):
            toward = _added(toward, cotangents.get(i + 1))
            before, gradient = _gradient(loss, i, weights[i], graph=True)
            moved = velocities[i + 1] if momentum else {name: g.detach() for name, g in gradient.items()}
            owed[i] = -_dot(moved, toward)
            pushed = {name: v - rates[i] * toward[name] for name, v in pushed.items()}
            found = torch.autograd.grad(
                list(gradient.values()),
                [*(before.values() if memory == "exact" else ()), *leaves],
                list(pushed.values()),
                allow_unused=True,
                materialize_grads=True,
            )
            if memory == "exact":
                toward = {name: v + f for (name, v), f in zip(toward.items(), found, strict=False)}
            for leaf, f in zip(leaves, found[len(found) - len(leaves) :], strict=True):
                leaf.grad = f if leaf.grad is None else leaf.grad + f
            pushed = {name: momentum * v for name, v in pushed.items()}
        if lr.requires_grad:
            torch.autograd.backward(lr, owed.sum() if lr.ndim == 0 else owed, inputs=list(leaves))

    return Way(weights, pull)


def _gradient(loss: StepLoss, i: int, weights: Params, graph: bool) -> tuple[Params, Params]:
    """Leaves at ``weights`` and the loss's gradient there."""
    here = {name: value.detach().requires_grad_() for name, value in weights.items()}
    gradients = torch.autograd.grad(loss(i, here), list(here.values()), create_graph=graph)
    return here, dict(zip(here, gradients, strict=True))


def _dot(a: Params, b: Params) -> Tensor:
    return torch.stack([(value * b[name]).sum() for name, value in a.items()]).sum()


def _added(a: Params, b: Params | None) -> Params:
    return a if b is None else {name: value + b[name] for name, value in a.items()}


def _graphed(
    loss: StepLoss, start: Params, steps: int, lr: Tensor, leaves: Sequence[Tensor], momentum: float, first: int
) -> Way:
    rates = lr.expand(steps)
    weights = {name: value.detach().requires_grad_() for name, value in start.items()}
    velocity = {name: torch.zeros_like(value) for name, value in start.items()}
    points = {0: weights}
    for i in range(steps):
        gradients = torch.autograd.grad(loss(i, weights), list(weights.values()), create_graph=True)
        velocity = {name: momentum * m + g for (name, m), g in zip(velocity.items(), gradients, strict=True)}
        weights = {name: w - rates[i] * velocity[name] for name, w in weights.items()}
        if i < first:
            weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
            velocity = {name: value.detach() for name, value in velocity.items()}
            points.clear()
        points[i + 1] = weights

    def pull(cotangents: Mapping[int, Params]) -> None:
        held = [(points[i][name], value) for i, params in cotangents.items() for name, value in params.items()]
        torch.autograd.backward([weight for weight, _ in held], [value for _, value in held], inputs=list(leaves))

    return Way({i: {name: value.detach() for name, value in p.items()} for i, p in points.items()}, pull)
