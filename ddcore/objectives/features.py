"""Distribution matching: mean features of S against those of T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore.gate import Context
from ddcore.objectives.base import Objective, by_bytes
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class FeatureMatch(Objective):
    """L = sum_c || mean_n f(T_c) - mean_n f(S_c) ||^2, summed over the d features.

    f is the input of the network's last layer, ``real`` the items of T drawn a class and step. Each class has
    one augmentation, shared by T and S.

    Reference: Zhao and Bilen, WACV 2023, Eq. 6.
    """

    real: int = 256

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        groups = [Group((c,), self.real, ctx.view()) for c in range(ctx.card.classes)]
        real = ctx.gate.features(draw, groups)
        total = 0.0
        for lot in by_bytes(synthetic, range(ctx.card.classes), ctx):
            inputs = [groups[c].seen(synthetic.take(synthetic.pick([c]))[0]) for c in lot]
            features = ctx.gate.bounded(draw(torch.cat(inputs), features=True))
            means = torch.stack([f.mean(0) for f in features.split([len(x) for x in inputs])])
            loss = (torch.stack([real[c] for c in lot]) - means).square().sum()
            loss.backward()
            total += float(loss.detach())
        yield total
