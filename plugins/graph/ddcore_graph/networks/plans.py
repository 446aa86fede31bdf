"""Networks on graphs, each as its paper has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.networks.layers import Attend, Beside, Dropout, Elu, Layer, Linear, Mix, Pagerank, Relu
from ddcore_graph.networks.network import GraphNetwork

SUITS = frozenset({"node"})


def stacked(card: dd.DataCard, layers: list[Layer], most: int | None = None) -> GraphNetwork:
    """The network of ``layers`` for nodes of ``card``."""
    return GraphNetwork(card.shape[0], tuple(layers), card.outputs, most)


@dataclass(frozen=True)
class GCN(dd.NetworkPlan, name="gcn"):
    """Graph convolutions: H' = relu( D^-1/2 (A + I) D^-1/2 H W ), the last one without relu.

    **Reference**: Kipf and Welling, ICLR 2017, Eq. 9.

    **Differs**: inputs are not dropped, so that A X is computed once.
    """

    suits = SUITS
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.KIPF,)

    width: dd.Count = 256
    """Channels between the convolutions."""
    depth: dd.Count = 2
    """Convolutions."""
    dropout: dd.Decay = 0.5
    """Share of the hidden channels that is dropped in training."""
    neighbours: dd.Count | None = None
    """Neighbours that a node hears at most in training, drawn anew at every call; None for all."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        hidden: list[Layer] = [Mix(), Linear(self.width), Relu(), Dropout(self.dropout)]
        return stacked(card, [*hidden * (self.depth - 1), Mix()], self.neighbours)


@dataclass(frozen=True)
class SGC(dd.NetworkPlan, name="sgc"):
    """Simplified graph convolution: linear layers on A^k X, which is computed once.

    **Reference**: Wu et al., ICML 2019, Eq. 8; hidden layers as the authors of GCond have them.
    """

    suits = SUITS
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.WU,)

    hops: dd.Count = 2
    """Hops k."""
    hidden: dd.Whole = 0
    """Hidden layers, each with a relu. Distilled on, a network without any leads below random nodes."""
    width: dd.Count = 256
    """Channels of a hidden layer."""
    dropout: dd.Decay = 0.0
    """Share of the hidden channels that is dropped in training."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        layers: list[Layer] = [Linear(self.width), Relu(), Dropout(self.dropout)]
        return stacked(card, [*[Mix()] * self.hops, *layers * self.hidden])


@dataclass(frozen=True)
class GAT(dd.NetworkPlan, name="gat"):
    """Graph attention: neighbours are weighed by what they and the listener hold.

    **Reference**: Velickovic et al., ICLR 2018.

    **Differs**: attention of the last layer is read from its input, not from its output, so that the layer is linear
    on features; nothing is dropped but hidden channels; weights of edges do not count.
    """

    suits = SUITS
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.VELICKOVIC,)

    width: dd.Count = 16
    """Channels of a head."""
    heads: dd.Count = 8
    """Heads of the hidden layer."""
    dropout: dd.Decay = 0.5
    """Share of the hidden channels that is dropped in training."""
    neighbours: dd.Count | None = None
    """Neighbours that a node hears at most in training, drawn anew at every call; None for all."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        layers = [Linear(self.width * self.heads), Attend(self.heads), Elu(), Dropout(self.dropout), Attend()]
        return stacked(card, layers, self.neighbours)


@dataclass(frozen=True)
class GraphSAGE(dd.NetworkPlan, name="sage"):
    """Sample and aggregate: H' = relu( W [h_i ; mean_j h_j] ), the last layer without relu.

    Nodes of a set without links hear themselves in the place of neighbours.

    **Reference**: Hamilton et al., NeurIPS 2017, Algorithm 1, mean aggregator.

    **Differs**: outputs are not scaled to unit length.
    """

    suits = SUITS
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.HAMILTON,)

    width: dd.Count = 256
    """Channels between the layers."""
    depth: dd.Count = 2
    """Layers."""
    dropout: dd.Decay = 0.5
    """Share of the hidden channels that is dropped in training."""
    neighbours: dd.Count | None = None
    """Neighbours that a node hears at most in training, drawn anew at every call; None for all."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        hidden: list[Layer] = [Beside(), Linear(self.width), Relu(), Dropout(self.dropout)]
        return stacked(card, [*hidden * (self.depth - 1), Beside()], self.neighbours)


@dataclass(frozen=True)
class APPNP(dd.NetworkPlan, name="appnp"):
    """An MLP whose hidden channels go through the graph by personalised PageRank.

    **Reference**: Gasteiger et al., ICLR 2019, Eq. 4.

    **Differs**: PageRank comes before the last linear layer, not after it; but for its bias that is the same.
    """

    suits = SUITS
    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.GASTEIGER,)

    width: dd.Count = 64
    """Channels of the hidden layer."""
    steps: dd.Count = 10
    """Steps of PageRank."""
    restart: dd.PositiveShare = 0.1
    """Share a of a node's own channels in every step."""
    dropout: dd.Decay = 0.5
    """Share of the hidden channels that is dropped in training."""
    neighbours: dd.Count | None = None
    """Neighbours that a node hears at most in training, drawn anew at every call; None for all."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        layers = [Linear(self.width), Relu(), Dropout(self.dropout), Pagerank(self.steps, self.restart)]
        return stacked(card, layers, self.neighbours)


@dataclass(frozen=True)
class NodeMLP(dd.NetworkPlan, name="node_mlp"):
    """Fully connected layers on a node's own features: what can be known without the graph."""

    suits = SUITS

    width: dd.Count = 256
    """Channels of a hidden layer."""
    hidden: dd.Count = 1
    """Hidden layers."""
    dropout: dd.Decay = 0.5
    """Share of the hidden channels that is dropped in training."""

    def build(self, card: dd.DataCard) -> GraphNetwork:
        layers: list[Layer] = [Linear(self.width), Relu(), Dropout(self.dropout)]
        return stacked(card, layers * self.hidden)
