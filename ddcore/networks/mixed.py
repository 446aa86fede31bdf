"""Ensembles of different networks: those whose parameters have the same shapes are trained side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import cast

import torch
from torch import Generator, Tensor

from ddcore.errors import RecipeRefused
from ddcore.networks.layers import At, Chain, Layer, Residual
from ddcore.networks.structure import Structure
from ddcore.types import Network, Params


@dataclass(frozen=True)
class Mixed(Layer):
    """The i-th of ``layers`` for the i-th net of an ensemble; all have one outline."""

    layers: tuple[Layer, ...]

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        self.layers[0].init(path, generator, params, buffers)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        runs = [(layer, len(list(alike))) for layer, alike in groupby(self.layers)]
        parts = x.split([count * x.shape[1] // at.nets for _, count in runs], 1)
        answers, start = [], 0
        for (layer, count), part in zip(runs, parts, strict=True):
            own = {name: value[start : start + count] for name, value in at.params.items() if name.startswith(path)}
            answers.append(layer(replace(at, params=own, nets=count), path, part))
            start += count
        return torch.cat(answers, 1)


def outline(network: Network) -> Structure | None:
    """What networks have in common that :func:`mixed` takes; None for one that stands in no mixed ensemble."""
    core = network.unwrapped
    return Structure(core.features.outline, core.head) if isinstance(core, Structure) else None


def mixed(networks: Sequence[Network]) -> Network:
    """The network of an ensemble whose i-th net is the i-th of ``networks``: each as it would be alone.

    Raises:
        RecipeRefused: they have not all the same :func:`outline`.
    """
    first, *others = networks
    if all(other == first for other in others):
        return first
    if outline(first) is None or any(outline(other) != outline(first) for other in others):
        raise RecipeRefused("Networks of different outlines cannot be one ensemble: train each outline by itself.")
    cores = [cast(Structure, network.unwrapped) for network in networks]
    return Structure(cast(Chain, _mixed([core.features for core in cores])), cores[0].head)


def _mixed(layers: Sequence[Layer]) -> Layer:
    first = layers[0]
    if all(layer == first for layer in layers):
        return first
    if isinstance(first, Chain):
        return Chain(tuple(map(_mixed, zip(*(cast(Chain, layer).layers for layer in layers), strict=True))))
    if isinstance(first, Residual):
        bodies, shortcuts = zip(
            *((cast(Residual, each).body, cast(Residual, each).shortcut) for each in layers), strict=True
        )
        return Residual(cast(Chain, _mixed(bodies)), cast(Chain, _mixed(shortcuts)))
    return Mixed(tuple(layers))
