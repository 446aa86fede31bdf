"""Graphs: the features of nodes, and which nodes hear which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

By = Literal["symmetric", "mean"]
"""How a node weighs those that it hears: ``symmetric`` is D^-1/2 (A + I) D^-1/2, itself among them; ``mean`` is the
mean over its neighbours without itself."""


class Links(ABC):
    """Who hears whom: n listeners among m nodes, each listener one of the m."""

    own: Tensor
    """The place (n,) of each listener among the m nodes."""

    @abstractmethod
    def mixed(self, h: Tensor) -> Tensor:
        """What listeners hear (..., n, c) of ``h`` (..., m, c): the sum over the nodes, by weight."""

    @abstractmethod
    def edges(self) -> tuple[Tensor, Tensor]:
        """Listener (l,) and place (l,) of the node that is heard, for each link."""


@dataclass(frozen=True)
class Sparse(Links):
    """Links one by one."""

    own: Tensor
    listener: Tensor
    heard: Tensor
    weight: Tensor

    def mixed(self, h: Tensor) -> Tensor:
        said = h.index_select(-2, self.heard) * self.weight[:, None]
        return h.new_zeros(*h.shape[:-2], len(self.own), h.shape[-1]).index_add(-2, self.listener, said)

    def edges(self) -> tuple[Tensor, Tensor]:
        return self.listener, self.heard


@dataclass(frozen=True)
class Dense(Links):
    """The links of few nodes, as a matrix (n, m) that can be learned."""

    own: Tensor
    weight: Tensor

    def mixed(self, h: Tensor) -> Tensor:
        return self.weight @ h

    def edges(self) -> tuple[Tensor, Tensor]:
        listener, heard = self.weight.detach().nonzero(as_tuple=True)
        return listener, heard


@dataclass(frozen=True)
class Field:
    """Which nodes some rows hear over a number of hops."""

    nodes: Tensor
    """All of them (m,)."""
    hops: Sequence[Links]
    """The links of each hop, the first from all nodes; the last ends at the rows."""


class Graph(ABC):
    """N nodes with features (N, d) and links."""

    @property
    @abstractmethod
    def features(self) -> Tensor:
        """(N, d)."""

    @abstractmethod
    def to(self, device: torch.device) -> Graph:
        """The graph on ``device``."""

    @abstractmethod
    def propagated(self, hops: int, by: By = "symmetric") -> Tensor:
        """The features (N, d) after ``hops`` hops."""

    @abstractmethod
    def field(self, rows: Tensor, hops: Sequence[By], most: int | None, generator: Generator | None) -> Field:
        """What ``rows`` (r,), each once, hear over ``hops``, the first hop first.

        A node with more than ``most`` neighbours hears ``most`` of them, drawn from ``generator`` with replacement,
        each of which counts for as many as it stands for; None for all of them.
        """


class LearnedGraph(Graph):
    """Few nodes whose features (n, d) and weights of links (n, n), from 0 to 1, can be learned."""

    def __init__(self, features: Tensor, adjacency: Tensor) -> None:
        self._features = features
        self.adjacency = adjacency

    @property
    def features(self) -> Tensor:
        return self._features

    def to(self, device: torch.device) -> LearnedGraph:
        return LearnedGraph(self.features.to(device), self.adjacency.to(device))

    def matrix(self, by: By) -> Tensor:
        """The weights (n, n) of what each node hears."""
        others = self.adjacency * (1 - torch.eye(len(self.adjacency)).to(self.adjacency))
        if by == "mean":
            return others / others.sum(1, keepdim=True).clamp_min(1e-12)
        heard = others + torch.eye(len(others)).to(others)
        scale = heard.sum(1).rsqrt()
        return scale[:, None] * heard * scale

    def propagated(self, hops: int, by: By = "symmetric") -> Tensor:
        h, matrix = self.features, self.matrix(by)
        for _ in range(hops):
            h = matrix @ h
        return h

    def field(self, rows: Tensor, hops: Sequence[By], most: int | None, generator: Generator | None) -> Field:
        nodes = torch.arange(len(self.features), device=self.features.device)
        links = [Dense(nodes, self.matrix(by)) for by in hops]
        if links:
            links[-1] = Dense(rows, links[-1].weight[rows])
            return Field(nodes, links)
        return Field(rows, links)
