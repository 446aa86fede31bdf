"""Matching statistics within a network: those its BatchNorm layers have seen, and those of its convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.bounds import Count, NotNegative, Share
from ddcore.chunking import slices
from ddcore.context import Context
from ddcore.losses import cross_entropy
from ddcore.networks.probe import batch_moments, convolved, moments
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import interleave_classes
from ddcore.objectives.means import ClassMeans
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class StatisticMatch(Objective):
    """L = sum_B CE(f(A(x_B)), y_B) + r sum_l w_l ( || mu_l(A(x_B)) - m_l || + || var_l(A(x_B)) - v_l || ), no T.

    f answers under its running means m_l and variances v_l; mu_l and var_l are those of the batch, at the input of
    BatchNorm layer l. A is the recipe's augmentation, drawn separately for each item. B are fixed batches in which the
    classes are interleaved: one is held in memory at a time, and as no item is in two of them, free pixels without a
    clip take the same step as if each batch were learned alone.

    **Reference**: Yin, Xing and Shen, SRe2L, NeurIPS 2023, Eq. 6 and 9.
    """

    classes_only = True

    weight: NotNegative = 0.01
    """Weight r of the statistics. Published: 0.01 with ResNet-18."""
    first: NotNegative = 1.0
    """Weight w_l of the first layer, where the others have 1. The authors' code has 10."""
    batch: Count = 100
    """Largest number of items per batch. Published: 100."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "trained_network", "batch_norm"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        classes = synthetic.carrier.classes
        order = interleave_classes(classes)
        total = torch.zeros((), device=ctx.device)
        for part in slices(len(order), self.batch):
            rows = order[part]
            logits, layers = batch_moments(draw, ctx.transform(len(rows))(synthetic.carrier(rows)))
            apart = [(at.mean - at.running_mean).norm() + (at.var - at.running_var).norm() for at in layers]
            apart[0] = self.first * apart[0]
            loss = cross_entropy(logits, classes[rows]).mean() + self.weight * torch.stack(apart).sum()
            loss.backward()
            total += loss.detach()
        yield float(total)


@dataclass(frozen=True)
class ConvolutionMatch(ClassMeans):
    """L = r ((1 - a) D(T, S) + a mean_c D(T_c, S_c)), D(X, Y) = sum_l || m_l(X) - m_l(Y) || + || v_l(X) - v_l(Y) ||.

    m_l and v_l are means and variances of the input of convolution l: at each channel, over items and places, and for
    a second term in each cell of a grid of four by four, over items, channels and the places in the cell. Running
    statistics normalise. T and S are here the classes that are in memory together, each with the same weight; where not
    all fit, the loss is the mean over such parts. Each class has one augmentation, shared by T and S.

    **References**: Shao et al., G-VBSM, CVPR 2024, generalized statistical matching; ``own``, Shao et al., EDC, NeurIPS
    2024, Eq. 5.

    **Differs**: a gate tells means of a class, so the statistics of T are those of ``real`` items per class at each
    step; published are those of all of T, computed beforehand. Where a side is no multiple of four, cells overlap,
    instead of the input being enlarged. No convolution is left out at random, and the statistics of S are not averaged
    with those of earlier batches.
    """

    weight: NotNegative = 0.01
    """Weight r. Published: 0.01 to 0.05 with five to eight networks such as ResNet-18."""
    own: Share = 0.0
    """Share a of the statistics of each class by itself. Published: 0.5 in EDC, 0 in G-VBSM."""

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"blocks", "convolutions"}

    def seen(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Draw:
        return convolved(draw)

    def distance(self, draw: Draw, real: Tensor, made: Tensor, share: float) -> Tensor:
        whole = _apart(draw, real.mean(0, keepdim=True), made.mean(0, keepdim=True)).sum()
        return share * self.weight * ((1 - self.own) * whole + self.own * _apart(draw, real, made).mean())


def _apart(draw: Draw, real: Tensor, made: Tensor) -> Tensor:
    """D (k,) of each row of the means (k, 2 d)."""
    pairs = zip(moments(draw, real), moments(draw, made), strict=True)
    return torch.stack([(m - n).norm(dim=1) + (v - w).norm(dim=1) for (m, v), (n, w) in pairs]).sum(0)
