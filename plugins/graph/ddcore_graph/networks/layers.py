"""Layers of graph networks: frozen values that know how to start their parameters and how to apply them.

Shapes: m nodes, n of which listen, c channels; with an ensemble there is an axis of e nets before these.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_graph.graph import By, Graph, Links


@dataclass(frozen=True)
class At:
    """Where in parameter space, and in which mode, a layer is applied."""

    params: dd.Params
    training: bool
    generators: tuple[Generator, ...] | None


class Layer(ABC):
    """A piece of a graph network; most work on each node by itself."""

    hops: ClassVar[tuple[By, ...]] = ()
    """The hops that it listens over, the first first."""
    draws: bool = False
    """It draws random numbers in training."""

    def width(self, width: int) -> int:
        """Channels that come out where ``width`` go in."""
        return width

    def init(self, path: str, width: int, generator: Generator, params: dd.Params) -> None:
        """Enter fresh parameters under ``path``."""

    def ahead(self, graph: Graph, before: int) -> Tensor | None:
        """What it makes of the features of all nodes, where the graph can keep that; ``before`` hops of the kind of its
        own have been made. None where it must be made at every call."""
        return None

    @abstractmethod
    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        """What becomes of ``h``; ``links`` of each of its hops, None for nodes that hear themselves alone."""


@dataclass(frozen=True)
class Linear(Layer):
    """Glorot's uniform start, biases of zero."""

    out: int

    def width(self, width: int) -> int:
        return self.out

    def init(self, path: str, width: int, generator: Generator, params: dd.Params) -> None:
        limit = math.sqrt(6 / (width + self.out))
        params[f"{path}.weight"] = (2 * torch.rand(self.out, width, generator=generator) - 1) * limit
        params[f"{path}.bias"] = torch.zeros(self.out)

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        weight, bias = at.params[f"{path}.weight"], at.params[f"{path}.bias"]
        return F.linear(h, weight, bias) if weight.ndim == 2 else h @ weight.mT + bias.unsqueeze(-2)


@dataclass(frozen=True)
class Relu(Layer):
    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        return F.relu(h)


@dataclass(frozen=True)
class Elu(Layer):
    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        return F.elu(h)


@dataclass(frozen=True)
class Dropout(Layer):
    """Each number is zero with probability ``share``, by each net's own generator."""

    share: float

    @property
    def draws(self) -> bool:  # type: ignore[override]
        return self.share > 0

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        if not at.training or not self.share:
            return h
        nets = h.shape[0] if h.ndim == 3 else 1
        own = [None] * nets if at.generators is None else [at.generators[i % len(at.generators)] for i in range(nets)]
        kept = torch.stack([torch.rand(h.shape[-2:], generator=generator) for generator in own]) >= self.share
        return h * kept.view(h.shape).to(h) / (1 - self.share)


@dataclass(frozen=True)
class Mix(Layer):
    """Each node hears itself and its neighbours: D^-1/2 (A + I) D^-1/2 h."""

    hops: ClassVar[tuple[By, ...]] = ("symmetric",)

    def ahead(self, graph: Graph, before: int) -> Tensor:
        return graph.propagated(before + 1)

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        return h if links is None else links[0].mixed(h)


@dataclass(frozen=True)
class Beside(Layer):
    """Each node's own channels, and the mean of its neighbours' beside them."""

    hops: ClassVar[tuple[By, ...]] = ("mean",)

    def width(self, width: int) -> int:
        return 2 * width

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        if links is None:
            return torch.cat([h, h], -1)
        return torch.cat([h.index_select(-2, links[0].own), links[0].mixed(h)], -1)


@dataclass(frozen=True)
class Attend(Layer):
    """Each node hears itself and its neighbours by weights a_ij = softmax_j leaky( u . h_i + v . h_j ) of each head."""

    heads: int = 1
    """Parts of equal width that the channels are divided into."""
    hops: ClassVar[tuple[By, ...]] = ("symmetric",)

    def init(self, path: str, width: int, generator: Generator, params: dd.Params) -> None:
        each = width // self.heads
        limit = math.sqrt(6 / (each + 1))
        for name in ("listener", "heard"):
            params[f"{path}.{name}"] = (2 * torch.rand(self.heads, each, generator=generator) - 1) * limit

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        if links is None:
            return h
        each = h.unflatten(-1, (self.heads, -1))
        u, v = ((each * at.params[f"{path}.{n}"].unsqueeze(-3)).sum(-1) for n in ("listener", "heard"))
        listener, heard = links[0].edges()
        n = len(links[0].own)
        score = F.leaky_relu(
            u.index_select(-2, links[0].own).index_select(-2, listener) + v.index_select(-2, heard), 0.2
        )
        said = (score - score.detach().amax(-2, keepdim=True)).exp()
        total = said.new_zeros(*said.shape[:-2], n, self.heads).index_add(-2, listener, said)
        weight = said / total.index_select(-2, listener).clamp_min(1e-30)
        out = each.new_zeros(*each.shape[:-3], n, *each.shape[-2:])
        return out.index_add(-3, listener, weight.unsqueeze(-1) * each.index_select(-3, heard)).flatten(-2)


@dataclass(frozen=True)
class Pagerank(Layer):
    """z_0 = h, z_t+1 = (1 - a) D^-1/2 (A + I) D^-1/2 z_t + a h."""

    steps: int
    restart: float

    @property
    def hops(self) -> tuple[By, ...]:  # type: ignore[override]
        return ("symmetric",) * self.steps

    def __call__(self, at: At, path: str, h: Tensor, links: tuple[Links, ...] | None) -> Tensor:
        z = h
        for hop in links or ():
            h = h.index_select(-2, hop.own)
            z = (1 - self.restart) * hop.mixed(z) + self.restart * h
        return z
