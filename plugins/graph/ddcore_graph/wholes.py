"""Whole graphs as items: each with its own nodes and one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

import ddcore
from ddcore import plugin as dd

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
            if graph.x is None or graph.edge_index is None or graph.y is None or torch.as_tensor(graph.y).numel() != 1:
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
    collection: str = "MUTAG"
    """Which: MUTAG, PROTEINS, NCI1 ..."""

    def item_kind(self) -> str:
        return "graph"

    def load(self) -> dd.RealData:
        from torch_geometric.datasets import TUDataset

        try:
            graphs: Any = TUDataset(self.root, self.collection)
        except Exception as error:  # of the loader, which may have wanted to go online
            raise ddcore.BadData(
                f"{self.collection} cannot be read below {self.root} ({type(error).__name__}: {error}). Put its raw"
                f" files into {self.root}/{self.collection}/raw, or run once where the loader reaches the network."
            ) from error
        order = torch.randperm(len(graphs), generator=Generator().manual_seed(0)).tolist()
        tenth = max(1, len(graphs) // 10)
        parts = (order[: -2 * tenth], order[-2 * tenth : -tenth], order[-tenth:])
        train, validation, test = ([graphs[i] for i in part] for part in parts)
        return graph_data(self.collection, train, test, validation)
