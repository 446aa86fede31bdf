"""A network of layers: features and a head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from ddcore.networks.layers import At, Chain, Linear
from ddcore.types import Call, Network, Params


@dataclass(frozen=True)
class Structure(Network):
    """A network: ``features`` ends in flat features (n, d), ``head`` makes logits (n, k) of them."""

    features: Chain
    head: Linear

    @property
    def per_sample(self) -> bool:
        return self.features.per_sample

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"blocks", "features"}).union(*(layer.gives for layer in self.features.inner()))

    def init(self, generator: Generator) -> tuple[Params, Params]:
        params: Params = {}
        buffers: Params = {}
        self.features.init("features", generator, params, buffers)
        self.head.init("head", generator, params, buffers)
        return params, buffers

    def apply(self, call: Call, x: Tensor) -> Tensor:
        at = At(call.params, call.buffers, call.training, call.ensemble or 1)
        if call.ensemble is not None:
            x = x.transpose(0, 1).flatten(1, 2)
        out = self.features(at, "features", x)
        if not call.features:
            out = self.head(at, "head", out)
        return out if call.ensemble is None else out.unflatten(1, (call.ensemble, -1)).transpose(0, 1)
