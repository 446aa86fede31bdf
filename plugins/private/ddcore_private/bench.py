"""What clipping each item costs."""

import math
from dataclasses import replace

import torch

from ddcore import plugin as dd
from ddcore_private.gate import PrivateGate

UNGUARDED = PrivateGate(epsilon=math.inf, noise_multiplier=0.0, max_gradient_norm=math.inf, max_feature_norm=math.inf)
"""The mechanism without its guard: the plain gate's answers."""

GUARDED = replace(UNGUARDED, noise_multiplier=1.0, max_gradient_norm=0.1, max_feature_norm=1.0)


@dd.benchmark
def private(device: str) -> list[dd.Pair]:
    """Gradients and features of 256 items: the private gate against the open one (a ratio of 0.4 is 2.5 times)."""
    data = dd.digits_as_mnist()
    return [
        _pair(torch.device(device), data, width, disclosure)
        for width in (32, 128)
        for disclosure in ("gradient", "features")
    ]


def _pair(device: torch.device, data: dd.RealData, width: int, disclosure: str) -> dd.Pair:
    group = dd.Group(classes=(0,))
    network = dd.ConvNet(width=width).fitted(data.card).build(data.card)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    draw = dd.Draw(network, {name: value.to(device) for name, value in params.items()}, buffers)

    def asked(plan: dd.GatePlan) -> torch.Tensor:
        rng = dd.Streams(0)
        gate = plan.live(data.train, (), rng, device)
        if disclosure == "features":
            return gate.features(draw, [group])[0]
        return torch.cat([value.flatten() for value in gate.gradient(draw, [group], dd.cross_entropy)[0].values()])

    def apart() -> float:
        private, plain = asked(UNGUARDED), asked(dd.Open())
        return float((private - plain).norm() / plain.norm())

    setting = f"digits28 28px, ConvNet-3 width {width}, {disclosure} of 256 items, clipped and noised"
    return dd.Pair(lambda: asked(GUARDED), lambda: asked(dd.Open()), apart, setting)
