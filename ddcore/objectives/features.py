"""Distribution matching: mean features of S against those of T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore.bounds import Count, NotNegative
from ddcore.context import Context
from ddcore.networks.probe import last_layer
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import class_batches
from ddcore.store import apart, joined
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class FeatureMatch(Objective):
    """L = sum_c || mean_n f(T_c) - mean_n f(S_c) ||^2, summed over the d features.

    f is the input of the network's last layer. Each class has one augmentation, shared by T and S.

    **References**: Zhao and Bilen, WACV 2023, Eq. 6; ``logits``, Xiong et al., FedDM, CVPR 2023.
    """

    classes_only = True

    real: Count = 256
    """Items of T per class and step. Published: 256."""
    logits: NotNegative = 0.0
    """Weight l of an added term l || mean_n z(T_c) - mean_n z(S_c) ||^2 on the outputs z of the last layer. That layer
    is linear, so mean outputs follow from mean features: nothing more is asked of T."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "features", *(["blocks"] if self.logits else [])})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        groups = [Group((c,), self.real, ctx.transform()) for c in range(ctx.card.classes)]
        real = ctx.gate.features(draw, groups)
        total = torch.zeros((), device=ctx.device)
        for lot in class_batches(synthetic, range(ctx.card.classes), ctx):
            rows = [synthetic.pick([c]) for c in lot]
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
