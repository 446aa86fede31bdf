"""Condensed graphs that GCond's authors released, read as sets."""

from __future__ import annotations

import os
from pickle import UnpicklingError

import torch
from torch import Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.carriers.base import shares
from ddcore_graph.carriers.linked import PairedNodes
from ddcore_graph.recipes import gcond


def released(
    features: str | os.PathLike[str],
    adjacency: str | os.PathLike[str],
    data: dd.RealData,
    threshold: float = 0.05,
) -> ddcore.DistilledSet:
    """The condensed graph of ``feat_*.pt`` and ``adj_*.pt`` (GCond's ``saved_ours``), for the real ``data``.

    Classes are not in the files: they follow from the real labels, each class's share of the nodes in the order in
    which GCond lists them, the rarest first, and of equally many the one that comes first among the nodes to train on.

    Raises:
        BadArtefact: the files hold no such tensors, or do not fit ``data``.
    """
    x, links = _read(features), _read(adjacency)
    n = len(x)
    if x.ndim != 2 or x.shape[1:] != data.card.shape or links.shape != (n, n) or n < data.card.classes:
        raise ddcore.BadArtefact(
            f"The released graph has features {tuple(x.shape)} and links {tuple(links.shape)}; wanted for"
            f" {data.card.name} are (n, {data.card.shape[0]}) and (n, n), with a node for each class at least."
        )
    first = [int(data.train.order[data.train.targets == c].min()) for c in range(data.card.classes)]
    order = sorted(range(data.card.classes), key=lambda c: (data.card.counts[c], first[c]))
    counts = shares(n, data.card.counts)
    classes = torch.cat([torch.full((counts[c],), c) for c in order])
    place = classes.argsort(stable=True)
    links = links[place][:, place].clamp(0, 1)
    recipe = ddcore.Host().kind("node").adapted(gcond(1))
    recipe = dd.overridden(recipe, {"synthetic.nodes": n, "iterations": 1}, ddcore.Host().catalogue)
    assert isinstance(recipe.synthetic, PairedNodes)
    return ddcore.DistilledSet(
        tensors=dd.LabelledTensors(x[place].contiguous(), classes[place]),
        data=data.card,
        method="gcond (released)",
        recipe=recipe.to_toml(),
        nbytes=x.nbytes + links.nbytes + n,
        latent={"adjacency": links * (links >= threshold)},
        facts={"released": True},
    )


def _read(path: str | os.PathLike[str]) -> Tensor:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise ddcore.BadArtefact(f"{path} cannot be read as one tensor: {error}.") from error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise ddcore.BadArtefact(f"{path} holds a {type(found).__name__}, not one tensor of floats.")
    return found.detach().float()
