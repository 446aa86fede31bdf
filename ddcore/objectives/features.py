"""Distribution matching: mean features of S against those of T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.bounds import Count, NotNegative
from ddcore.context import Context
from ddcore.device import sent
from ddcore.kernels import Gaussian
from ddcore.networks.probe import embedded, last_layer
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import class_batches
from ddcore.store import apart, joined
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class FeatureMatch(Objective):
    """L = sum_c || mean_n f(T_c) - mean_n f(S_c) ||^2, summed over the d features.

    f is the input of the network's last layer. Each class has one augmentation, shared by T and S. With a ``kernel`` k
    the means are those of k's features, so that L is a maximum mean discrepancy, mean k(T_c, T_c') + mean k(S_c, S_c')
    - 2 mean k(T_c, S_c'): all moments of the features count, not the first alone.

    **References**: Zhao and Bilen, WACV 2023, Eq. 6; ``logits``, Xiong et al., FedDM, CVPR 2023; ``kernel``, Zhang et
    al., M3D, AAAI 2024.

    **Differs**: the features of k are drawn anew at each step instead of summing k over all pairs, which has the same
    mean. So single items of T are never asked for, and the features have length one, which nothing need clip.
    """

    classes_only = True

    real: Count = 256
    """Items of T per class and step. Published: 256."""
    batch: Count | None = None
    """Items of S per class and step, drawn without replacement, so that a step's time does not grow with S; None for
    all of them."""
    logits: NotNegative = 0.0
    """Weight l of an added term l || mean_n z(T_c) - mean_n z(S_c) ||^2 on the outputs z of the last layer. That layer
    is linear, so mean outputs follow from mean features: nothing more is asked of T."""
    kernel: Gaussian | None = None
    """The kernel whose features are matched, of f in units in which the mean squared distance of two items of S is d;
    None for f itself."""

    def faults(self) -> Iterator[str]:
        if self.logits and self.kernel is not None:
            yield "logits follow from mean features, which a kernel replaces: set logits = 0, or leave kernel out"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "features", *(["blocks"] if self.logits else [])})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        groups = [Group((c,), self.real, ctx.transform()) for c in range(ctx.card.classes)]
        if self.kernel is not None:
            draw = embedded(draw, self._frequencies(self.kernel, draw, synthetic, ctx))
        real = ctx.gate.features(draw, groups)
        total = torch.zeros((), device=ctx.device)
        for lot in class_batches(synthetic, range(ctx.card.classes), ctx, self.batch):
            rows = [self._some(synthetic.pick([c]), ctx) for c in lot]
            made = iter(apart(synthetic.take(torch.cat(rows))[0], [len(r) for r in rows]))
            inputs = [groups[c].seen(next(made)) for c in lot]
            features = ctx.gate.clip_features(draw(joined(inputs), features=True))
            means = torch.stack([f.mean(0) for f in features.split([len(x) for x in inputs])])
            targets = torch.stack([real[c] for c in lot])
            loss = (targets - means).square().sum()
            if self.logits:
                loss = loss + self.logits * (last_layer(draw, targets) - last_layer(draw, means)).square().sum()
            loss.backward()
            total += loss.detach()
        yield float(total)

    def _some(self, rows: Tensor, ctx: Context) -> Tensor:
        """``batch`` of the ``rows`` of a class, or all."""
        if self.batch is None or len(rows) <= self.batch:
            return rows
        return rows[sent(torch.randperm(len(rows), generator=ctx.rng["batches"])[: self.batch], ctx.device)]

    @staticmethod
    def _frequencies(kernel: Gaussian, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Tensor:
        """Frequencies (d, m) for the features of ``draw``, whose unit is taken from items of S that fit one chunk."""
        generator = ctx.rng["kernel"]
        rows = torch.randperm(len(synthetic), generator=generator)[: max(2, ctx.room)]
        with torch.no_grad():
            features = draw(synthetic.take(sent(rows, ctx.device))[0], features=True)
        spread = features.var(0).mean() if len(rows) > 1 else features.square().mean()
        return sent(kernel.drawn(features.shape[1], generator), ctx.device) / (2 * spread).sqrt().clamp_min(1e-6)
