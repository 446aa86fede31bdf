"""Kernels in closed form: Gaussian, and those of infinitely wide networks.

An infinitely wide ReLU network is, at its start, a Gaussian process, and trained by gradient descent it is kernel
regression with its neural tangent kernel. Both kernels of a layer follow from those of the layer before. They are
computed in float64, can be differentiated in both arguments, and hold for each pair of items by itself.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore.bounds import Count, Layers, NotNegative, Positive
from ddcore.papers import PAPERS
from ddcore.parts import Part
from ddcore.types import Call, Citation, Draw, Network, Params


@dataclass(frozen=True)
class Kernel(Part, kind="kernel"):
    """How alike items are, as inner products of features that need not be known."""

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The kernel (n, m) of items x (n, ...) and y (m, ...), in float64."""


@dataclass(frozen=True)
class Gaussian(Kernel):
    """k(x, y) = mean_w exp( - || x - y ||^2 / (2 w^2 d) ) of items of d numbers, over the widths w.

    Its features can be drawn: E_u cos( u . (x - y) ) = k(x, y), so cosines and sines of random frequencies u stand for
    the features of k, and inner products of theirs estimate k without bias.

    **References**: Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007, Theorem 1; the
    widths, which double the square from one to the next, Zhang et al., M3D, AAAI 2024.
    """

    widths: tuple[Positive, ...] = (0.35, 0.5, 0.71, 1.0, 1.41)
    """Widths w, in units of the square root of d."""
    frequencies: Count = 1024
    """Frequencies u that are drawn where features stand for the kernel, as many of each width as of any other."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["zhang2024m3d"],)

    def faults(self) -> Iterator[str]:
        if not self.widths:
            yield "widths is empty: give at least one"

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        apart = torch.cdist(x.double().flatten(1), y.double().flatten(1)).square() / x[0].numel()
        return torch.stack([(-apart / (2 * w**2)).exp() for w in self.widths]).mean(0)

    def drawn(self, d: int, generator: Generator) -> Tensor:
        """Frequencies (d, m) for items of ``d`` numbers."""
        widths = torch.tensor(self.widths).repeat(-(-self.frequencies // len(self.widths)))[: self.frequencies]
        return torch.randn(d, self.frequencies, generator=generator) / (widths * d**0.5)


@dataclass(frozen=True)
class Tangent(Kernel):
    """The neural tangent kernel of a network of hidden layers, ReLU after each, and a linear layer.

    Weights are drawn from N(0, 2 / fan-in) and biases from N(0, ``bias``^2). With S the covariance of a layer's
    pre-activations and N the tangent kernel, u = S(x, y) / sqrt(S(x, x) S(y, y)) and t = arccos u, a ReLU makes

        S' = sqrt(S(x, x) S(y, y)) (sin t + (pi - t) u) / 2 pi,    N' = N (pi - t) / 2 pi,

    and the linear map after it S = 2 A S' + bias^2, N = S + 2 A N', A the mean over what a unit sees.

    **References**: Cho and Saul, Kernel Methods for Deep Learning, NeurIPS 2009, Eq. 6; Jacot et al., Neural Tangent
    Kernel, NeurIPS 2018, Theorem 1.

    **Differs**: where two items point the same way, u = 1, the derivative of the last factor, which has none there, is
    taken as zero.
    """

    depth: Layers = 1
    """Hidden layers."""
    bias: NotNegative = 0.1
    """Standard deviation of the biases."""

    cites: ClassVar[tuple[Citation, ...]] = (PAPERS["jacot2018ntk"],)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent kernel (n, m) of items x (n, ...) and y (m, ...)."""
        x, y = x.double(), y.double()
        of_x, of_y = (self._linear(self._sizes(z)) for z in (x, y))
        tangent = covariance = self._linear(self._products(x, y))
        for layer in range(self.depth):
            mean = self._mean if layer < self.depth - 1 else self._last_mean
            size = (of_x.unsqueeze(1) * of_y.unsqueeze(0)).clamp_min(torch.finfo(torch.float64).tiny).sqrt()
            cosine = covariance / size
            angle = _angle(cosine)
            share = (math.pi - angle) / (2 * math.pi)
            covariance = 2 * mean(size * (angle.sin() / (2 * math.pi) + share * cosine)) + self.bias**2
            tangent = covariance + 2 * mean(tangent * share)
            of_x, of_y = self._linear(of_x / 2), self._linear(of_y / 2)
        return tangent

    def _linear(self, covariance: Tensor) -> Tensor:
        return 2 * self._mean(covariance) + self.bias**2

    @abstractmethod
    def _products(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean product of two items' channels, (n, m) or at each position (n, m, h, w)."""

    @abstractmethod
    def _sizes(self, x: Tensor) -> Tensor:
        """The mean square of an item's channels, (n,) or (n, h, w)."""

    @abstractmethod
    def _mean(self, covariance: Tensor) -> Tensor:
        """A: the mean over what a unit of a hidden layer sees."""

    @abstractmethod
    def _last_mean(self, covariance: Tensor) -> Tensor:
        """A of the last layer, to (n, m)."""


@dataclass(frozen=True)
class DenseTangent(Tangent):
    """The tangent kernel of a fully connected network on flattened items."""

    def _products(self, x: Tensor, y: Tensor) -> Tensor:
        return x.flatten(1) @ y.flatten(1).T / x[0].numel()

    def _sizes(self, x: Tensor) -> Tensor:
        return x.flatten(1).square().mean(1)

    def _mean(self, covariance: Tensor) -> Tensor:
        return covariance

    def _last_mean(self, covariance: Tensor) -> Tensor:
        return covariance


@dataclass(frozen=True)
class ConvTangent(Tangent):
    """The tangent kernel of 3x3 convolutions, zero-padded and without pooling, whose last output is flattened.

    Units at two positions share no weights in the flattened layer, so that only pairs of equal positions count and a
    layer costs n m h w.

    **Reference**: Arora et al., On Exact Computation with an Infinitely Wide Neural Net, NeurIPS 2019, Section 4.
    """

    suits = frozenset({"image"})

    depth: Layers = 3
    """Convolutions with a ReLU."""

    def _products(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.einsum("nchw,mchw->nmhw", x, y) / x.shape[1]

    def _sizes(self, x: Tensor) -> Tensor:
        return x.square().mean(1)

    def _mean(self, covariance: Tensor) -> Tensor:
        return F.avg_pool2d(covariance, 3, stride=1, padding=1)

    def _last_mean(self, covariance: Tensor) -> Tensor:
        return covariance.mean((-2, -1))


def _angle(cosine: Tensor) -> Tensor:
    """arccos, with derivative zero at the ends."""
    inside = cosine.abs() < 1 - 1e-14
    return torch.where(inside, cosine.where(inside, 0).acos(), math.pi * (cosine < 0).to(cosine))


@dataclass(frozen=True)
class KernelMachine(Network):
    """The network f(x) = K(x, S) W; its parameters are the items S (n, ...) and the weights W (n, k), in float64."""

    kernel: Kernel

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[Params, Params]:
        raise NotImplementedError("A kernel machine has no start: it is made at given items and weights.")

    def apply(self, call: Call, x: Tensor) -> Tensor:
        """Logits (n, k), or with ``features`` the kernel's values (n, m)."""
        assert call.ensemble is None, "a kernel machine is called alone"
        values = self.kernel(x, call.params["items"])
        return values if call.features else values @ call.params["weights"]


# One machine per kernel, always the same: a gate remembers by a network's identity how many items fit its memory.
_machine = cache(KernelMachine)


def machine(kernel: Kernel, items: Tensor, weights: Tensor) -> Draw:
    """The kernel machine with S = ``items`` (n, ...) and W = ``weights`` (n, k)."""
    return Draw(_machine(kernel), {"items": items.double(), "weights": weights.double()}, {})


def kernel_regression(kernel: Kernel, items: Tensor, targets: Tensor, ridge: float) -> Draw:
    """The kernel machine fitted to ``items`` (n, ...) with ``targets`` (n, k) by ridge regression.

    W = (K(S, S) + l d I)^-1 y with l = ``ridge`` and d the mean of K's diagonal.
    """
    of_each = kernel(items, items)
    return machine(kernel, items, torch.linalg.solve(regularised(of_each, ridge), targets.double()))


def influences(x: Tensor, fitted: Tensor, short: Tensor, ridge: float) -> Tensor:
    """What a linear prediction at one item owes to each item that it was fitted to, (n,), to first order.

    It is by how much the prediction rises per unit of weight that an item is given on top of its own,

        I_i = x^T (Z^T Z + l d I)^-1 z_i (y_i - f_i),

    with the features ``x`` (m,) and Z = ``fitted`` (n, m), ``short`` (n,) what predictions fall short of their targets
    by, l = ``ridge`` and d the mean of the diagonal of Z^T Z. With features k(., S) it says on which real items a
    prediction by the distilled set S rests.

    **Reference**: Koh and Liang, ICML 2017, equation 1 at the squared error.
    """
    return fitted @ torch.linalg.solve(regularised(fitted.T @ fitted, ridge), x) * short


def regularised(gram: Tensor, ridge: float) -> Tensor:
    """``gram`` (m, m) with ``ridge`` times the mean of its diagonal added to the diagonal."""
    return gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)).to(gram)


PARTS = (
    ConvTangent,
    DenseTangent,
    Gaussian,
)
