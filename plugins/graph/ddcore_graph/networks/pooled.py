"""A network on whole graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd
from ddcore_graph import papers


@dataclass(frozen=True)
class GraphNet(dd.NetworkPlan, name="graph_gcn"):
    """Graph convolutions on each graph, the mean over its nodes, and a linear layer.

    **Reference**: Kipf and Welling, ICLR 2017, Eq. 9; mean pooling as in DosCond's experiments.
    """

    suits = frozenset({"graph"})
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.KIPF, papers.DOSCOND)

    width: dd.Count = 64
    """Channels of a convolution."""
    depth: dd.Count = 2
    """Convolutions."""

    def build(self, card: dd.DataCard) -> PooledNetwork:
        return PooledNetwork(features_of(card), (self.width,) * self.depth, card.outputs)


def features_of(card: dd.DataCard) -> int:
    """Features d of a node of graphs (m, d + m). Raises RecipeRefused where an item cannot be read so."""
    if len(card.shape) != 2 or card.shape[1] <= card.shape[0]:
        raise ddcore.RecipeRefused(f"The items of {card.name} are {card.shape}, which are no graphs (m, d + m).")
    return card.shape[1] - card.shape[0]


@dataclass(frozen=True)
class PooledNetwork(dd.Network):
    """Convolutions of ``widths`` on graphs (n, m, d + m), mean over nodes, a linear head."""

    inputs: int
    widths: tuple[int, ...]
    outputs: int

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[dd.Params, dd.Params]:
        params: dd.Params = {}
        into = self.inputs
        for i, out in enumerate((*self.widths, self.outputs)):
            limit = (6 / (into + out)) ** 0.5
            params[f"{i}.weight"] = (2 * torch.rand(out, into, generator=generator) - 1) * limit
            params[f"{i}.bias"] = torch.zeros(out)
            into = out
        return params, {}

    def apply(self, call: dd.Call, x: Tensor) -> Tensor:
        h, links = x[..., : self.inputs], x[..., self.inputs :].clamp_min(0)
        there = links.diagonal(dim1=-2, dim2=-1).clamp_max(1)[..., None]
        scale = links.sum(-1, keepdim=True).clamp_min(1e-6).rsqrt() * (there > 0)
        links = scale * links * scale.mT
        for i in range(len(self.widths)):
            h = there * F.relu(_linear(call.params, i, links @ h))
        h = (h * there).sum(-2) / there.sum(-2).clamp_min(1e-6)
        return h if call.features else _linear(call.params, len(self.widths), h)


def _linear(params: dd.Params, i: int, h: Tensor) -> Tensor:
    weight, bias = params[f"{i}.weight"], params[f"{i}.bias"]
    if weight.ndim == 2:
        return F.linear(h, weight, bias)
    each = h.flatten(1, -2) @ weight.mT + bias[:, None]
    return each.unflatten(1, h.shape[1:-1])
