"""A network of layers: features and a head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from ddcore.networks.layers import At, Chain, Linear
from ddcore.types import Params


@dataclass(frozen=True)
class Structure:
    """A network: ``features`` ends in flat features (n, d), ``head`` makes logits (n, k) of them."""

    features: Chain
    head: Linear

    @property
    def per_sample(self) -> bool:
        return self.features.per_sample

    def init(self, generator: Generator) -> tuple[Params, Params]:
        params: Params = {}
        buffers: Params = {}
        self.features.init("features", generator, params, buffers)
        self.head.init("head", generator, params, buffers)
        return params, buffers

    def __call__(
        self,
        params: Params,
        buffers: Params,
        x: Tensor,
        *,
        features: bool = False,
        training: bool = True,
        ensemble: int | None = None,
    ) -> Tensor:
        at = At(params, buffers, training, ensemble or 1)
        if ensemble is not None:
            x = x.transpose(0, 1).flatten(1, 2)
        out = self.features(at, "features", x)
        if not features:
            out = self.head(at, "head", out)
        return out if ensemble is None else out.unflatten(1, (ensemble, -1)).transpose(0, 1)
