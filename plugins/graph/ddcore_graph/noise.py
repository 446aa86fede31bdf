"""Noise in a graph, to see what a method makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Generator, Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.fixed import FixedGraph
from ddcore_graph.nodes import Nodes


@dataclass(frozen=True)
class Noise(dd.Part, kind="noise"):
    """Noise in what a method learns from; networks are tested on the graph as it was.

    **Reference**: the combined noise of Gong et al., GC4NC, NeurIPS 2025: 1, 0.1 and 0.2.
    """

    structure: dd.NotNegative = 1.0
    """Links between random nodes that are added, as a share of those that are there."""
    features: dd.Share = 0.1
    """Share of the features whose value goes to another node."""
    labels: dd.Share = 0.2
    """Share of the nodes to train on that get another class."""

    def applied(self, data: dd.RealData, seed: int) -> dd.RealData:
        """``data`` with noise in the graph that nodes to train on hear, and in their labels.

        Raises:
            RecipeRefused: its items are no nodes of a graph.
        """
        inputs = data.train.inputs
        if not isinstance(inputs, Nodes) or not isinstance(inputs.graph, FixedGraph):
            raise ddcore.RecipeRefused(f"Noise is for nodes of a graph, and {data.card.name} has none.")
        rng = dd.Streams(seed)
        graph = self._graph(inputs.graph, rng["noise"])
        classes = self._classes(data.train.targets, data.card.classes, rng["labels"])
        store = dd.Store.of(cast(dd.Items, Nodes(graph, inputs.rows)), classes, data.card.classes)
        order = data.train.order[store.order]
        store = replace(store, order=order)
        return replace(data, card=replace(data.card, counts=store.counts), train=store)

    def _graph(self, graph: FixedGraph, generator: Generator) -> FixedGraph:
        n, edges = len(graph), graph.edge_index
        pairs = torch.randint(n, (2, round(self.structure * edges.shape[1] / 2)), generator=generator)
        edges = torch.cat([edges, pairs, pairs.flip(0)], 1)
        weights = torch.cat([graph.edge_weight, torch.ones(2 * pairs.shape[1])])
        x = graph.features
        moved = torch.rand(x.shape, generator=generator) < self.features
        x = torch.where(moved, x[torch.randperm(n, generator=generator)], x)
        return FixedGraph(x, edges, weights)

    def _classes(self, classes: Tensor, k: int, generator: Generator) -> Tensor:
        """Other classes for a share of the items, but for the last of a class, which stays."""
        wrong = torch.rand(len(classes), generator=generator) < self.labels
        wrong[torch.stack([(classes == c).nonzero()[0, 0] for c in range(k)])] = False
        other = (classes + torch.randint(1, max(2, k), classes.shape, generator=generator)) % k
        return torch.where(wrong, other, classes)
