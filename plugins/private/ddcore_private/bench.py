"""What clipping each item costs."""

import math
from dataclasses import replace

import torch

import ddcore
from ddcore_private.gate import PrivateGate

UNGUARDED = PrivateGate(epsilon=math.inf, noise_multiplier=0.0, max_gradient_norm=math.inf, max_feature_norm=math.inf)
"""The mechanism without its guard: the plain gate's answers."""

GUARDED = replace(UNGUARDED, noise_multiplier=1.0, max_gradient_norm=0.1, max_feature_norm=1.0)


@ddcore.benchmark
def private() -> list[ddcore.Pair]:
    """Gradients and features of 256 items: the private gate against the open one (a ratio of 0.4 is 2.5 times)."""
    data = ddcore.digits_as_mnist()
    return [_pair(data, width, disclosure) for width in (32, 128) for disclosure in ("gradient", "features")]


def _pair(data: ddcore.RealData, width: int, disclosure: str) -> ddcore.Pair:
    group = ddcore.Group(classes=(0,))
    network = ddcore.ConvNet(width=width).fitted(data.card).build(data.card)
    draw = ddcore.Draw(network, *network.init(torch.Generator().manual_seed(0)))

    def asked(plan: ddcore.GatePlan) -> torch.Tensor:
        rng = ddcore.Streams(0)
        gate = plan.build(ddcore.Source(data.train, (), rng, torch.device("cpu")), rng)
        if disclosure == "features":
            return gate.features(draw, [group])[0]
        return torch.cat([value.flatten() for value in gate.gradient(draw, [group], ddcore.cross_entropy)[0].values()])

    def apart() -> float:
        private, plain = asked(UNGUARDED), asked(ddcore.Open())
        return float((private - plain).norm() / plain.norm())

    setting = f"digits28 28px, ConvNet-3 width {width}, {disclosure} of 256 items, clipped and noised"
    return ddcore.Pair(lambda: asked(GUARDED), lambda: asked(ddcore.Open()), apart, setting)
