"""A network on graphs, made of layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from ddcore import plugin as dd
from ddcore_graph.graph import By, Graph, Links
from ddcore_graph.networks.layers import At, Layer, Linear
from ddcore_graph.nodes import Nodes


@dataclass(frozen=True)
class GraphNetwork(dd.Network):
    """``layers`` and a linear head on nodes of a graph, or on plain features (n, d), whose items hear themselves alone.

    Only what the asked nodes hear is computed. What the first layers make of the features themselves, without
    parameters, is computed once for all nodes, by the graph.
    """

    inputs: int
    layers: tuple[Layer, ...]
    outputs: int
    most: int | None = None
    """Neighbours that a node hears at most in training, None for all."""

    @property
    def per_sample(self) -> bool:
        """A node's answer depends on its graph, not on which others are asked about."""
        return True

    @property
    def stochastic(self) -> bool:
        return self.most is not None or any(layer.draws for layer in self.layers)

    def init(self, generator: Generator) -> tuple[dd.Params, dd.Params]:
        params: dd.Params = {}
        width = self.inputs
        for i, layer in enumerate(self.layers):
            layer.init(f"layers.{i}", width, generator, params)
            width = layer.width(width)
        Linear(self.outputs).init("head", width, generator, params)
        return params, {}

    def apply(self, call: dd.Call, x: Tensor) -> Tensor:
        at = At(call.params, call.training, call.generators)
        if not isinstance(x, Nodes):
            return self._through(at, call.features, x, 0, None)
        rows, back = x.rows.unique(return_inverse=True)
        first, done = self._ahead(x.graph)
        hops: list[By] = [hop for layer in self.layers[done:] for hop in layer.hops]
        most = self.most if call.training else None
        field = x.graph.field(rows, hops, most, call.generators[0] if call.generators else None)
        answer = self._through(at, call.features, first[field.nodes], done, tuple(field.hops))
        if x.rows.ndim == 1:
            return answer[back]
        return answer.gather(1, back.unsqueeze(-1).expand(*back.shape, answer.shape[-1]))

    def _ahead(self, graph: Graph) -> tuple[Tensor, int]:
        """What the first layers make of all nodes' features, and how many layers these are."""
        h, done = graph.features, 0
        for layer in self.layers:
            made = layer.ahead(graph, done)
            if made is None:
                break
            h, done = made, done + 1
        return h, done

    def _through(self, at: At, features: bool, h: Tensor, done: int, links: tuple[Links, ...] | None) -> Tensor:
        left = None if links is None else list(links)
        for i, layer in enumerate(self.layers[done:], done):
            own = None if left is None else tuple(left.pop(0) for _ in layer.hops)
            h = layer(at, f"layers.{i}", h, own)
        return h if features else Linear(self.outputs)(at, "head", h, None)
