"""Matching what a teacher has seen: the running statistics of its BatchNorm layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore.bounds import Count, NotNegative
from ddcore.chunking import slices
from ddcore.context import Context
from ddcore.losses import cross_entropy
from ddcore.networks.probe import batch_moments
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import interleave_classes
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
