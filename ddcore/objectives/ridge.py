"""Kernel ridge regression: a predictor fitted to S in closed form, and its loss on T."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ddcore.bounds import Count, NotNegative
from ddcore.context import Context
from ddcore.errors import LossDiverged
from ddcore.kernels import ConvTangent, Kernel, machine, regularised
from ddcore.losses import cross_entropy, squared
from ddcore.networks.probe import by_centres
from ddcore.objectives.base import Objective
from ddcore.synthetic import LabelModule, SyntheticSet
from ddcore.types import DataCard, Draw, Group, ItemLoss


@dataclass(frozen=True)
class Ridge(Objective):
    """L = the mean loss on T of K(x, S) W, with W = (K(S, S) + l d I)^-1 y and d the mean of K's diagonal.

    The loss is sum_k (f_k - t_k)^2 / 2 from T's class t, encoded as S's labels encode it; or, where those have a
    temperature, the cross-entropy of the outputs times it. T and S share one augmentation. T enters through the
    gradient of L with respect to the predictor alone, which then goes back to S. It reports the norm of that gradient:
    no gate discloses a loss.
    """

    real: Count = 256
    """Items of T per step."""
    ridge: NotNegative = 1e-6
    """Ridge l, in units of the mean of K's diagonal."""
    flip: bool = False
    """Whether each item of S also counts mirrored, unless that could change a label of the data."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

    def fitted(self, card: DataCard) -> Self:
        return replace(super().fitted(card), flip=self.flip and card.flips)

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        group = Group(size=self.real, transform=ctx.transform())
        labels, k = synthetic.labels, ctx.card.classes
        inputs, targets = synthetic.everything()
        inputs = group.seen(inputs)
        y = (labels.encoded(targets, k) if targets.ndim == 1 else targets).double()
        if self.flip:
            inputs, y = torch.cat([inputs, inputs.flip(-1)]), torch.cat([y, y])

        def weights(kernel: Tensor) -> Tensor:
            found = self._solved(kernel, y, ctx)
            return found if labels.temperature is None else labels.temperature * found

        predictor = self.predictor(draw, inputs, weights)
        (pull,) = ctx.gate.gradient(predictor, [group], _loss(labels, k))
        hung = {name: value for name, value in predictor.params.items() if value.requires_grad}
        torch.autograd.backward(list(hung.values()), [pull[name] for name in hung])
        yield float(torch.stack([value.square().sum() for value in pull.values()]).sum().sqrt())

    @abstractmethod
    def predictor(self, draw: Draw, inputs: Tensor, weights: Callable[[Tensor], Tensor]) -> Draw:
        """The predictor fitted to ``inputs`` (n, ...), its parameters still hanging on them; ``weights`` makes W (n, k)
        of their kernel (n, n)."""

    def _solved(self, kernel: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """W (n, k).

        Raises:
            LossDiverged: the kernel of S cannot be inverted.
        """
        found, failed = torch.linalg.solve_ex(regularised(kernel, self.ridge), y)
        if bool(failed) or not bool(found.isfinite().all()):
            raise LossDiverged(
                f"The kernel of S cannot be inverted at step {ctx.step() + 1}: items of S have become alike, or left"
                f" their range. A larger objective.ridge (now {self.ridge}) or a smaller update.lr usually helps."
            )
        return found


def _loss(labels: LabelModule, k: int) -> ItemLoss:
    if labels.temperature is not None:
        return cross_entropy
    return lambda outputs, classes: squared(outputs, labels.encoded(classes, k).to(outputs))


@dataclass(frozen=True)
class KernelRidge(Ridge):
    """:class:`Ridge` with K(x, x') = f(x) . f(x'), f the input of the network's last layer.

    So the predictor is f(x) M' with M = W' f(S), and the gate is asked dL/dM. References: Zhou et al., FRePo, NeurIPS
    2022, Eq. 4; Loo et al., RFAD, NeurIPS 2022, Section 3.
    """

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"features"}

    def predictor(self, draw: Draw, inputs: Tensor, weights: Callable[[Tensor], Tensor]) -> Draw:
        features = draw(inputs, features=True).double()
        return by_centres(draw, (weights(features @ features.T).T @ features).float())


@dataclass(frozen=True)
class TangentRidge(Ridge):
    """:class:`Ridge` with the tangent kernel of an infinitely wide network; the network of the step is not used.

    The gate is asked dL/dS and dL/dW.

    **Reference**: Nguyen, Chen and Lee, KIP, ICLR 2021, Eq. 7.
    """

    kernel: Kernel = ConvTangent()
    """The tangent kernel K."""

    def predictor(self, draw: Draw, inputs: Tensor, weights: Callable[[Tensor], Tensor]) -> Draw:
        return machine(self.kernel, inputs, weights(self.kernel(inputs, inputs)))
