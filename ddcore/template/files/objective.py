"""A distance between what a network sees of T and what it sees of S."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ddcore import plugin as dd


@dataclass(frozen=True)
class RootMatch(dd.LossObjective):
    """L = sum_c || mean f(T_c) - mean f(S_c) ||, f being the network's features: the root where DM has the square."""

    real: dd.Count = 64
    """Items of T per class and step."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs"})

    def loss(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> torch.Tensor:
        groups = [dd.Group(classes=(c,), size=self.real) for c in range(ctx.card.classes)]
        total = torch.zeros((), device=ctx.device)
        for c, real in enumerate(ctx.gate.features(draw, groups)):
            inputs, _ = synthetic.take(synthetic.pick([c]))
            ours = ctx.gate.clip_features(draw(inputs, features=True)).mean(0)
            total = total + (real - ours).square().sum().add(1e-12).sqrt()
        return total
