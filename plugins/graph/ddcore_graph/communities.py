"""A made graph: communities whose nodes are linked mostly among themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from ddcore import plugin as dd
from ddcore_graph.data import node_data
from ddcore_graph.fixed import FixedGraph


@dataclass(frozen=True)
class Communities(dd.DataSet):
    """A stochastic block model with features: each class a community, known by its links better than by its features.

    Features are words that a node has or not, more often those of its class; rows sum to one.
    """

    nodes: dd.Count = 1000
    """Nodes in all."""
    classes: dd.Count = 4
    """Communities, each as large as the others."""
    features: dd.Count = 64
    """Words."""
    links: dd.Count = 4
    """Links that each node gets on its own account."""
    inside: dd.Share = 0.8
    """Share of the links that stay within the community."""
    clear: dd.Share = 0.1
    """Share of a node's words that are of its class for certain; the others are any."""
    labelled: dd.PositiveShare = 0.1
    """Share of the nodes to train on; as many are there to choose on, the rest to test on."""
    inductive: bool = False
    """Whether the nodes to train on hear each other alone."""
    seed: dd.Whole = 0
    """Seed of the graph."""

    def item_kind(self) -> str:
        return "node"

    def load(self) -> dd.RealData:
        generator = Generator().manual_seed(self.seed)
        n, k = self.nodes, self.classes
        classes = torch.arange(n) % k
        listener = torch.arange(n).repeat_interleave(self.links)
        any_node = torch.randint(n, (len(listener),), generator=generator)
        near = (any_node // k * k + classes[listener]).clamp_max(n - 1)
        stays = torch.rand(len(listener), generator=generator) < self.inside
        heard = torch.where(stays, near, any_node)
        edges = torch.stack([torch.cat([heard, listener]), torch.cat([listener, heard])])
        words = 8
        any_word = torch.randint(self.features, (n, words), generator=generator)
        own = any_word // k * k + classes[:, None]
        said = torch.rand(n, words, generator=generator) < self.clear
        said = torch.where(said, own.clamp_max(self.features - 1), any_word)
        x = torch.zeros(n, self.features).scatter_(1, said, 1.0)
        order = torch.randperm(n, generator=generator).argsort()
        each = max(k, round(self.labelled * n))
        parts = {"train": order < each, "validation": (order >= each) & (order < 2 * each), "test": order >= 2 * each}
        graph = FixedGraph(x / x.sum(1, keepdim=True), edges)
        return node_data("communities", graph, classes, parts, inductive=self.inductive)
