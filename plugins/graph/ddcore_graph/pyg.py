"""PyTorch Geometric: its ``Data`` in, and out again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

import ddcore
from ddcore import plugin as dd
from ddcore_graph.data import node_data
from ddcore_graph.fixed import FixedGraph

if TYPE_CHECKING:
    from torch_geometric.data import Data

MASKS = {"train": "train_mask", "validation": "val_mask", "test": "test_mask"}


def real_data(data: Data, name: str = "graph", *, inductive: bool = False, split: int = 0) -> dd.RealData:
    """The nodes of a ``Data`` with ``x``, ``edge_index``, ``y`` and masks as a data set.

    ``split``: which column of masks that hold several splits. ``inductive``: nodes to train on hear each other alone.

    Raises:
        BadData: something of it is missing, or does not fit together.
    """
    for part in ("x", "edge_index", "y"):
        if getattr(data, part, None) is None:
            raise ddcore.BadData(f"{name} has no {part}: a Data with x, edge_index, y and masks is wanted.")
    x, edges, y = (torch.as_tensor(getattr(data, part)).cpu() for part in ("x", "edge_index", "y"))
    weights = getattr(data, "edge_weight", None)
    if x.is_sparse:
        x = x.to_dense()
    if x.ndim != 2 or not bool(x.float().isfinite().all()):
        raise ddcore.BadData(f"{name}: x is {tuple(x.shape)}. Wanted are finite features (nodes, features).")
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.is_floating_point():
        raise ddcore.BadData(f"{name}: edge_index is {edges.dtype} {tuple(edges.shape)}. Wanted are links (2, links).")
    if weights is not None and (weights.numel() != edges.shape[1] or not bool((weights >= 0).all())):
        raise ddcore.BadData(f"{name}: edge_weight is not one number of at least 0 for each link.")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != len(x):
        raise ddcore.BadData(f"{name}: y is {tuple(y.shape)}. Wanted is one class for each of {len(x)} nodes.")
    masks = {}
    for name_of, attribute in MASKS.items():
        mask = getattr(data, attribute, None)
        if mask is not None:
            mask = torch.as_tensor(mask).cpu()
            masks[name_of] = mask[:, split] if mask.ndim == 2 else mask
    flat = None if weights is None else torch.as_tensor(weights).cpu().flatten()
    return node_data(name, FixedGraph(x, edges, flat), y, masks, inductive=inductive)


def condensed(distilled: ddcore.DistilledSet) -> Data:
    """A condensed graph as ``Data``: ``x``, ``edge_index``, ``edge_weight``, ``y``, and a ``train_mask`` of all nodes.

    Nodes without links are linked to themselves, so that every convolution hears them. Of labels that are vectors it
    has the class of the largest value.

    Raises:
        BadArtefact: its items are no nodes.
    """
    from torch_geometric.data import Data

    if distilled.data.kind != "node":
        raise ddcore.BadArtefact(f"The items of {distilled.data.name} are {distilled.data.kind}s and no nodes.")
    n = len(distilled)
    adjacency = distilled.latent.get("adjacency", torch.zeros(n, n))
    adjacency = adjacency + torch.diag((adjacency.sum(1) == 0).float())
    listener, heard = adjacency.nonzero(as_tuple=True)
    found = Data(
        x=distilled.inputs.clone(),
        edge_index=torch.stack([heard, listener]),
        edge_weight=adjacency[listener, heard],
        y=distilled.targets.clone() if distilled.targets.ndim == 1 else distilled.targets.argmax(1),
        train_mask=torch.ones(n, dtype=torch.bool),
    )
    found.validate()
    return found


def condense(
    data: Data,
    method: str = "gcdm_x",
    *,
    nodes: int | None = None,
    rate: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Data:
    """``data`` condensed by ``method`` to so many ``nodes``, or to the share ``rate`` of all its nodes.

    Raises:
        RecipeRefused: neither or both of ``nodes`` and ``rate``, or fewer nodes than classes.
        BadData: as :func:`real_data` says.
    """
    real = real_data(data)
    if (nodes is None) == (rate is None):
        raise ddcore.RecipeRefused("Say how large the condensed graph shall be, by nodes= or by rate=.")
    if nodes is None:
        assert rate is not None
        there = len(data.x)  # type: ignore[arg-type]
        nodes = int(rate * there) if 0 < rate <= 1 else 0
        if nodes < real.card.classes:
            raise ddcore.RecipeRefused(
                f"A rate of {rate} of {there} nodes is {nodes} nodes, and each of {real.card.classes} classes needs"
                f" one: take a rate of at least {real.card.classes / there:.2g}."
            )
    host = ddcore.Host()
    recipe = host.recipe(method, kind="node", overrides={"synthetic.nodes": nodes, **(overrides or {})})
    return condensed(host.distill(recipe, real, seed=seed, device=device))


@dataclass(frozen=True)
class Loaded(dd.DataSet):
    """A graph that PyTorch Geometric's own loaders read, from files below ``root`` or from the network."""

    root: dd.FilePath = "data"
    """The folder of the loader."""
    graph: Literal["pubmed", "flickr", "reddit", "ogbn-arxiv"] = "pubmed"
    """Which. Of ogbn-arxiv the package ogb must be installed."""
    inductive: bool = False
    """Whether the nodes to train on hear each other alone. Published: flickr and reddit."""

    def item_kind(self) -> str:
        return "node"

    def load(self) -> dd.RealData:
        try:
            return real_data(self._read(), self.graph, inductive=self.inductive)
        except ddcore.DdcoreError:
            raise
        except Exception as error:  # of the loader, which may have wanted to go online
            raise ddcore.BadData(
                f"{self.graph} cannot be read below {self.root} ({type(error).__name__}: {error}). Run once where its"
                " loader reaches the network, or put the loader's files there."
            ) from error

    def _read(self) -> Data:
        from torch_geometric import datasets, transforms

        if self.graph == "pubmed":
            return datasets.Planetoid(self.root, "PubMed", transform=transforms.NormalizeFeatures())[0]  # type: ignore[return-value]
        if self.graph in ("flickr", "reddit"):
            made = datasets.Flickr(self.root) if self.graph == "flickr" else datasets.Reddit(self.root)
            return made[0]  # type: ignore[return-value]
        from ogb.nodeproppred import PygNodePropPredDataset  # type: ignore[import-not-found]

        found = PygNodePropPredDataset(self.graph, self.root)
        data, splits = transforms.ToUndirected()(found[0]), found.get_idx_split()
        for mask, split in zip(MASKS.values(), ("train", "valid", "test"), strict=True):
            data[mask] = torch.zeros(data.num_nodes, dtype=torch.bool)
            data[mask][splits[split]] = True
        return data
