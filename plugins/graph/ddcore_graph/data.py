"""Real data of a graph's nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.fixed import FixedGraph
from ddcore_graph.nodes import Nodes

SPLITS = ("train", "validation", "test")


def node_data(
    name: str,
    graph: FixedGraph,
    classes: Tensor,
    masks: Mapping[str, Tensor],
    *,
    inductive: bool = False,
    class_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dd.RealData:
    """The nodes of ``graph`` as a data set.

    ``classes`` (N,) of all nodes, of which only those in the splits are looked at; ``masks`` (N,) booleans of
    ``train``, ``validation`` and ``test``. Transductive, nodes to train on hear all nodes of the graph; ``inductive``,
    they hear each other alone, and the rest is not there until it is tested.

    Raises:
        BadData: a mask is missing or empty, masks overlap, or a class has no node to train on.
    """
    n = len(graph)
    for split in SPLITS:
        mask = masks.get(split)
        if mask is None or mask.dtype != torch.bool or mask.shape != (n,):
            raise ddcore.BadData(
                f"{name} says not which of its {n} nodes are for {split}: give train_mask, val_mask and test_mask,"
                " one boolean per node (torch_geometric.transforms.RandomNodeSplit makes some)."
            )
        if not bool(mask.any()):
            raise ddcore.BadData(f"The mask of {name} for {split} names no node: each split needs some.")
    if twice := int(torch.stack([masks[s] for s in SPLITS]).sum(0).gt(1).sum()):
        raise ddcore.BadData(f"The masks of {name} overlap in {twice} nodes: each may stand in one split alone.")
    rows = {split: masks[split].nonzero().flatten() for split in SPLITS}
    labelled = classes[torch.cat(list(rows.values()))]
    if labelled.is_floating_point() or labelled.ndim != 1 or int(labelled.min()) < 0:
        raise ddcore.BadData(f"The labels of {name} are not one class per node, numbered from 0.")
    k = len(class_names) or int(labelled.max()) + 1
    known = torch.bincount(classes[rows["train"]], minlength=k)
    if bool((known == 0).any()):
        c = int((known == 0).nonzero()[0])
        raise ddcore.BadData(
            f"Class {c} of {name} has no node to train on: every class needs a labelled node in train_mask."
        )
    own = graph.alone(rows["train"]) if inductive else graph
    of = {split: Nodes(graph, at) for split, at in rows.items()}
    of["train"] = Nodes(own, torch.arange(len(own))) if inductive else of["train"]
    alone = int((graph.edge_index.flatten().bincount(minlength=n) == 0).sum())
    said = (
        f"A graph of {n} nodes and {graph.edge_index.shape[1]} links,"
        f" {'of which those to train on hear each other alone' if inductive else 'which all nodes hear'}"
        + (f"; {alone} nodes have no links." if alone else ".")
    )
    return dd.RealData.of(
        name,
        (of["train"], classes[rows["train"]]),
        (of["test"], classes[rows["test"]]),
        validation=(of["validation"], classes[rows["validation"]]),
        kind="node",
        apart=False,
        classes=k,
        class_names=class_names,
        notes=(said, *notes),
    )
