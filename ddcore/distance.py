"""Distances between gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddcore.bounds import NotNegative
from ddcore.parts import Part
from ddcore.types import Params


class Distance(Part, kind="distance"):
    """How far two gradients of one network are apart."""

    @abstractmethod
    def __call__(self, S: Params, T: Params) -> Tensor:
        """A scalar, differentiable in ``S``."""


@dataclass(frozen=True)
class FilterCosine(Distance):
    """D = sum over tensors of two and more dimensions, and over their output filters, of 1 - <s, t> / (|s| |t| + eps).

    A filter is a row of the tensor flattened to (out, rest).

    **Reference**: Zhao, Mopuri and Bilen, ICLR 2021, Eq. 10.

    **Differs**: the formula speaks of layers; as in the authors' code, tensors of one dimension (biases and the
    parameters of norms) contribute nothing.
    """

    eps: NotNegative = 1e-6
    """Added to the product of norms. Published: 1e-6."""

    def __call__(self, S: Params, T: Params) -> Tensor:
        return torch.stack([_turned(s, t, self.eps).sum() for s, t in _filters(S, T)]).sum()


@dataclass(frozen=True)
class MagnitudeAware(Distance):
    """D = sum over tensors of two and more dimensions, and over filters, of 1 - <s, t> / (|s| |t| + eps) + |s - t|.

    Where s = t, |s - t| has a derivative of zero.

    **Reference**: Jiang et al., Delving into Effective Gradient Matching, 2022; Eq. 26 of the survey by Lei and Tao.

    **Differs**: as :class:`FilterCosine`.
    """

    eps: NotNegative = 1e-6
    """Added to the product of norms."""

    def __call__(self, S: Params, T: Params) -> Tensor:
        return torch.stack([(_turned(s, t, self.eps) + _length(s - t)).sum() for s, t in _filters(S, T)]).sum()


@dataclass(frozen=True)
class Lp(Distance):
    """D = sum over tensors, and over all their values, of |s - t|^p.

    **Reference**: Kim et al., IDC, ICML 2022; p from the authors' code.
    """

    p: Literal[1, 2] = 2
    """Power of the difference. Published: 2 for CIFAR-10 and SVHN, 1 for MNIST, FashionMNIST and ImageNet."""
    only_convolutions: bool = True
    """Whether tensors that do not have four dimensions are left out, as published."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"convolutions"} if self.only_convolutions else ())

    def __call__(self, S: Params, T: Params) -> Tensor:
        gaps = [s - T[name] for name, s in S.items() if s.ndim == 4 or not self.only_convolutions]
        return torch.stack([(gap.abs() if self.p == 1 else gap.square()).sum() for gap in gaps]).sum()


def _filters(S: Params, T: Params) -> Iterator[tuple[Tensor, Tensor]]:
    """The tensors of two and more dimensions, as rows of filters (out, rest)."""
    return ((s.flatten(1), T[name].flatten(1)) for name, s in S.items() if s.ndim >= 2)


def _turned(s: Tensor, t: Tensor, eps: float) -> Tensor:
    """1 - cosine, row by row (n,)."""
    return 1 - (s * t).sum(1) / (_length(s) * _length(t) + eps)


def _length(x: Tensor) -> Tensor:
    """Norm of each row (n, d), with derivatives of zero, not NaN, at a row of zeros."""
    squared = x.square().sum(1)
    empty = squared == 0
    return torch.where(empty, 0, torch.where(empty, 1, squared).sqrt())


def likeness(features: Tensor, origin: Tensor) -> Tensor:
    """The mean cosine of two rows of ``features`` (n, d) of one ``origin`` (n,), over all such pairs of an origin, then
    over the origins that have any; zero where none has."""
    unit = features / _length(features).clamp_min(1e-12)[:, None]
    counts = torch.bincount(origin).to(features)
    sums = features.new_zeros(len(counts), features.shape[1]).index_add(0, origin, unit)
    several = counts > 1
    pairs = (sums.square().sum(1) - counts)[several] / (counts * (counts - 1))[several]
    return pairs.sum() / several.sum().clamp_min(1)


PARTS = (
    FilterCosine,
    MagnitudeAware,
    Lp,
)
