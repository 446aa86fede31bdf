"""Nodes whose links are learned."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

import ddcore
from ddcore import plugin as dd
from ddcore_graph.carriers.base import Begun, NodesModule
from ddcore_graph.graph import LearnedGraph
from ddcore_graph.nodes import Nodes


@dataclass(frozen=True)
class Linked(Begun):
    """A carrier of nodes with links."""

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        super().check(recipe, card, network)
        if recipe.objective is not None and "student" in recipe.objective.gives:
            raise ddcore.RecipeRefused(
                f"synthetic = {self.part_name()} learns links, and objective = {recipe.objective.part_name()} trains"
                " networks on nodes without any: take synthetic.name = free_nodes."
            )

    def shown(self, distilled: ddcore.DistilledSet) -> Any:
        """The nodes with the links that the set holds."""
        return LinkedSet(distilled)


class LinkedSet(dd.HoldsTensors):
    """A condensed graph with its links, for networks to be trained on."""

    def __init__(self, distilled: ddcore.DistilledSet) -> None:
        self.tensors = distilled.tensors
        self.nbytes = distilled.nbytes
        graph = LearnedGraph(distilled.inputs, distilled.latent["adjacency"])
        self.nodes = Nodes(graph, torch.arange(len(distilled)))

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return cast(Tensor, self.nodes[index]), self.targets[index]


class LinkedModule(NodesModule):
    """Features, and links that are made anew when the nodes are asked for."""

    @abstractmethod
    def adjacency(self) -> Tensor:
        """The weights (n, n) of links that networks see while S is learned."""

    @abstractmethod
    def kept(self) -> Tensor:
        """The weights (n, n) that stand in the set."""

    def forward(self, index: Tensor) -> Any:
        return Nodes(LearnedGraph(self.features, self.adjacency()), index)

    def latent(self) -> dict[str, Tensor]:
        return {"adjacency": self.kept().detach().cpu()}

    def nbytes(self) -> int:
        """Features, and a weight for each pair of nodes."""
        return self.features.nbytes + self.features.element_size() * len(self.classes) ** 2


@dataclass(frozen=True)
class PairedNodes(Linked):
    """Links that follow from features: A'_ij = sigmoid( (g(x_i, x_j) + g(x_j, x_i)) / 2 ), g a learned MLP.

    In the set, links below ``threshold`` are left out. A node is not linked with itself; networks add that.

    **Reference**: Jin et al., GCond, ICLR 2022, Eq. 8.
    """

    width: dd.Count = 128
    """Channels of the MLP's two hidden layers."""
    likely: dd.OpenShare = 0.02
    """Weight of each link at the start, about; many links of nearly one weight would make all nodes alike."""
    threshold: dd.Share = 0.05
    """Weight below which a link is left out in the end. Published: 0.05 or 0.01, by data set."""

    def build(self, card: dd.DataCard) -> PairedModule:
        return PairedModule(self, card)


class PairedModule(LinkedModule):
    def __init__(self, plan: PairedNodes, card: dd.DataCard) -> None:
        super().__init__(plan, card)
        self.plan: PairedNodes = plan
        with torch.random.fork_rng(devices=[]):
            self.first = nn.Linear(2 * card.shape[0], plan.width)
            self.rest = nn.Sequential(nn.ReLU(), nn.Linear(plan.width, plan.width), nn.ReLU(), nn.Linear(plan.width, 1))

    def start(self, ctx: dd.Context) -> None:
        super().start(ctx)
        generator = ctx.rng["edges"]
        for layer in (self.first, *self.rest):
            if isinstance(layer, nn.Linear):
                with torch.no_grad():
                    limit = layer.in_features**-0.5
                    for value in (layer.weight, layer.bias):
                        value.copy_((2 * torch.rand(value.shape, generator=generator) - 1) * limit)
        with torch.no_grad():
            self.rest[-1].bias.fill_(float(torch.tensor(self.plan.likely).logit()))  # type: ignore[union-attr]

    def adjacency(self) -> Tensor:
        left, right = self.first.weight.chunk(2, 1)
        one, other = self.features @ left.T, self.features @ right.T
        pairs = self.rest(one[:, None] + other[None] + self.first.bias)[..., 0]
        return without_loops(((pairs + pairs.T) / 2).sigmoid())

    def kept(self) -> Tensor:
        with torch.no_grad():
            found = self.adjacency()
        return found * (found >= self.plan.threshold)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {**super().groups(), "edges": [*self.first.parameters(), *self.rest.parameters()]}


@dataclass(frozen=True)
class SampledNodes(Linked):
    """Links that are drawn: A'_ij ~ Bernoulli( sigmoid(l_ij) ), with learned logits l and a draw for every step.

    While S is learned, a draw is relaxed to sigmoid( (l_ij + log u - log(1 - u)) / t ), u uniform. In the set are the
    links that are likelier than not.

    **Reference**: Jin et al., DosCond, KDD 2022, Eq. 6; the relaxation, Maddison et al., ICLR 2017.
    """

    temperature: dd.Positive = 0.5
    """Temperature t of the relaxed draw."""
    likely: dd.OpenShare = 0.02
    """Probability of each link at the start."""

    def build(self, card: dd.DataCard) -> SampledModule:
        return SampledModule(self, card)


class SampledModule(LinkedModule):
    noise: Tensor

    def __init__(self, plan: SampledNodes, card: dd.DataCard) -> None:
        super().__init__(plan, card)
        self.temperature = plan.temperature
        n = len(self.classes)
        logit = torch.tensor(plan.likely).logit()
        self.logits = nn.Parameter(torch.full((n, n), float(logit)))
        self.register_buffer("noise", torch.zeros(n, n))

    def follow(self, draw: dd.Draw, rng: Generator) -> None:
        self.noise.copy_(torch.rand(self.noise.shape, generator=rng).clamp(1e-6, 1 - 1e-6).logit())

    def adjacency(self) -> Tensor:
        drawn = ((self.logits + self.logits.T) / 2 + symmetric(self.noise)) / self.temperature
        return without_loops(drawn.sigmoid())

    def kept(self) -> Tensor:
        with torch.no_grad():
            return without_loops((self.logits + self.logits.T > 0).float())

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {**super().groups(), "edges": [self.logits]}


def symmetric(values: Tensor) -> Tensor:
    """The part (..., n, n) above the diagonal, mirrored below."""
    above = values.triu(1)
    return above + above.mT


def without_loops(adjacency: Tensor) -> Tensor:
    return adjacency * (1 - torch.eye(len(adjacency)).to(adjacency))
