"""Whole graphs as items: each with its own nodes and one class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.carriers.linked import symmetric

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Graphs(dd.Items):
    """Graphs of at most m nodes with d features, each read as one table (m, d + m).

    A row is a node: its features, then its links to all nodes. The link of a node to itself says that the node is
    there; rows and columns of nodes that are not there are zero.
    """

    dtype = torch.float32

    def __init__(self, graphs: Sequence[tuple[Tensor, Tensor]], most: int) -> None:
        """``graphs``: features (n, d) and links (2, l) of each."""
        self.graphs, self.most = graphs, most

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.graphs), self.most, self.graphs[0][0].shape[1] + self.most)

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes + edges.nbytes for x, edges in self.graphs)

    def __getitem__(self, rows: Any) -> Tensor:
        return torch.stack([self._table(*self.graphs[i]) for i in torch.as_tensor(rows).tolist()])

    def at(self, rows: Tensor) -> Graphs:
        return Graphs([self.graphs[i] for i in rows.tolist()], self.most)

    def _table(self, x: Tensor, edges: Tensor) -> Tensor:
        n, d = x.shape
        table = torch.zeros(self.most, d + self.most)
        table[:n, :d] = x
        own = torch.arange(n)
        table[own, d + own] = 1
        table[edges[1], d + edges[0]] = 1
        return table


def graph_data(name: str, train: Sequence[Data], test: Sequence[Data], validation: Sequence[Data] = ()) -> dd.RealData:
    """Graphs, PyTorch Geometric's ``Data`` with ``x``, ``edge_index`` and one class ``y`` each, as a data set.

    Raises:
        BadData: a graph lacks its features or its class.
    """
    given = {"train": train, "test": test, "validation": validation}
    given = {split: graphs for split, graphs in given.items() if len(graphs)}
    for split, graphs in given.items():
        for i, graph in enumerate(graphs):
            if graph.x is None or graph.edge_index is None or graph.y is None or graph.y.numel() != 1:
                raise ddcore.BadData(
                    f"{name}: graph {i} of {split} has not all of x, edge_index and one class y. Graphs whose nodes"
                    " have no features may get their degrees (torch_geometric.transforms.OneHotDegree)."
                )
    most = max(len(_features(graph)) for graphs in given.values() for graph in graphs)
    splits = {
        split: (
            Graphs([(_features(g), torch.as_tensor(g.edge_index)) for g in graphs], most),
            torch.cat([torch.as_tensor(g.y).flatten() for g in graphs]),
        )
        for split, graphs in given.items()
    }
    return dd.RealData.of(name, splits["train"], splits.get("test"), validation=splits.get("validation"), kind="graph")


def _features(graph: Data) -> Tensor:
    return torch.as_tensor(graph.x).float()


@dataclass(frozen=True)
class TU(dd.DataSet, name="tu"):
    """A data set of graphs from the TU collection, by PyTorch Geometric's loader.

    The last two tenths, in a fixed order that is drawn once, are to choose on and to test on.
    """

    root: dd.FilePath = "data"
    """The folder below which the files lie, or to which the loader brings them."""
    name: str = "MUTAG"
    """Which: MUTAG, PROTEINS, NCI1 ..."""

    def item_kind(self) -> str:
        return "graph"

    def load(self) -> dd.RealData:
        from torch_geometric.datasets import TUDataset

        try:
            graphs: Any = TUDataset(self.root, self.name)
        except Exception as error:  # of the loader, which may have wanted to go online
            raise ddcore.BadData(
                f"{self.name} cannot be read below {self.root} ({type(error).__name__}: {error}). Put its raw files"
                f" into {self.root}/{self.name}/raw, or run once where the loader reaches the network."
            ) from error
        order = torch.randperm(len(graphs), generator=Generator().manual_seed(0)).tolist()
        tenth = max(1, len(graphs) // 10)
        parts = (order[: -2 * tenth], order[-2 * tenth : -tenth], order[-tenth:])
        train, validation, test = ([graphs[i] for i in part] for part in parts)
        return graph_data(self.name, train, test, validation)


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


@dataclass(frozen=True)
class WholeGraph(dd.ItemKind, name="graph"):
    """A graph by itself: a table (m, d + m) of its nodes' features and of the links between them."""

    @property
    def network(self) -> dd.NetworkPlan:
        return GraphNet()

    @property
    def instead(self) -> Mapping[str, dd.Part | None]:
        return {**super().instead, "preprocess": dd.Identity()}


@dataclass(frozen=True)
class SampledGraphs(dd.Carrier):
    """Graphs whose features are learned and whose links are drawn, as those of ``sampled_nodes``.

    Features and sizes begin as those of random real graphs, each with ``likely`` or its complement as the probability
    of a link.

    **Reference**: Jin et al., DosCond, KDD 2022, Section 3.2.
    """

    suits = frozenset({"graph"})

    temperature: dd.Positive = 0.5
    """Temperature of the relaxed draw."""
    likely: dd.OpenShare = 0.1
    """Probability at the start of a link that the real graph has not; of one that it has, the complement."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"})

    def faults(self) -> Iterator[str]:
        if self.likely >= 0.5:
            yield f"likely = {self.likely}: links that are not there must be less likely than not, below 0.5"

    def build(self, card: dd.DataCard) -> SampledGraphsModule:
        return SampledGraphsModule(self, card)


class SampledGraphsModule(dd.CarrierModule):
    there: Tensor
    noise: Tensor

    def __init__(self, plan: SampledGraphs, card: dd.DataCard) -> None:
        super().__init__()
        self.plan = plan
        per_class = plan.per_class(card)
        n, m, d = sum(per_class), card.shape[0], features_of(card)
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(torch.tensor(per_class)))
        self.features = nn.Parameter(torch.zeros(n, m, d))
        self.logits = nn.Parameter(torch.zeros(n, m, m))
        self.register_buffer("there", torch.zeros(n, m))
        self.register_buffer("noise", torch.zeros(n, m, m))

    def start(self, ctx: dd.Context) -> None:
        d = self.features.shape[-1]
        for c, wanted in enumerate(self.plan.per_class(ctx.card)):
            (batch,) = ctx.gate.examples([dd.Group(classes=(c,), size=wanted)])
            own = self.classes == c
            links = batch.inputs[..., d:]
            with torch.no_grad():
                self.features[own] = batch.inputs[..., :d]
                sure = torch.tensor(1 - self.plan.likely).logit()
                self.logits[own] = torch.where(links > 0, sure, -sure)
                self.there[own] = links.diagonal(dim1=-2, dim2=-1)

    def follow(self, draw: dd.Draw, rng: Generator) -> None:
        self.noise.copy_(torch.rand(self.noise.shape, generator=rng).clamp(1e-6, 1 - 1e-6).logit())

    def forward(self, index: Tensor) -> Tensor:
        logits = (self.logits[index] + self.logits[index].mT) / 2
        there = self.there[index]
        pairs = there[..., None] * there[..., None, :]
        if torch.is_grad_enabled():
            links = ((logits + symmetric(self.noise[index])) / self.plan.temperature).sigmoid()
        else:
            links = (logits > 0).float()
        eye = torch.eye(links.shape[-1]).to(links)
        links = links * pairs * (1 - eye) + there[..., None] * eye
        return torch.cat([self.features[index] * there[..., None], links], -1)

    def nbytes(self) -> int:
        """Features, and a link for each pair of nodes."""
        return self.features.nbytes + self.logits.nbytes

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.features], "edges": [self.logits]}


@dd.method(papers.DOSCOND)
def doscond_graphs(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """DosCond for classes of graphs: min_S sum_c D( grad l(S_c), grad l(T_c) ) at new networks; links are drawn.

    **Reference**: Jin et al., DosCond, KDD 2022, Algorithm 1.

    **Differs**: all classes move S together.
    """
    return dd.Recipe(
        "doscond_graphs",
        synthetic=SampledGraphs(ipc),
        objective=dd.GradientMatch(real=64),
        policy=dd.Fresh(),
        network=GraphNet(),
        preprocess=dd.Identity(),
        update=dd.Update(lr={"inputs": 0.01, "edges": 0.1}, optimiser=dd.Adam()),
        iterations=iterations,
    )
