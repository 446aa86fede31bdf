"""What a step of condensation costs beside the passes of the GCN that it consists of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import Host
from ddcore import plugin as dd
from ddcore_graph.communities import Communities
from ddcore_graph.nodes import Nodes

CORA = Communities(nodes=2708, classes=7, features=1433, links=2, labelled=140 / 2708)
"""A made graph of Cora's size."""
DISTANCE = dd.FilterCosine(1e-12)


@dd.benchmark
def graph(device: str) -> list[dd.Pair]:
    """A step of GCDM-X and of GCond-X, 35 nodes, against the bare passes of a GCN (a ratio of 0.67 is 1.5 times)."""
    data = CORA.load()
    return [_pair(device, data, "gcdm_x", matched_means), _pair(device, data, "gcond_x", matched_gradients)]


def _pair(device: str, data: dd.RealData, method: str, passes: Any) -> dd.Pair:
    host = Host()
    plain = {"update.optimiser.name": "sgd", "update.optimiser.momentum": 0.0}
    changes = {**plain, "update.lr.inputs": 10.0, "update.clip": None, "policy.name": "fresh"}
    recipe = host.recipe(method, kind="node", ipc=5, iterations=1000, overrides=changes)

    def begun() -> Any:
        run = host.start(recipe, data, device=device)
        run.start()
        return run

    a, b = begun(), begun()
    known = [value.to(device) for value in heard(data)]

    def plainly(run: Any) -> None:
        features = run.synthetic.carrier.features
        run.optimiser.zero_grad()
        passes(run.ctx.fresh().params, features, run.synthetic.carrier.classes, *known).backward()
        run.optimiser.step()

    def apart() -> float:
        one, other = begun(), begun()
        start = one.synthetic.carrier.features.detach().clone()
        one.update()
        plainly(other)
        moved, should = (run.synthetic.carrier.features.detach() - start for run in (one, other))
        return float((moved - should).norm() / should.norm())

    setting = f"a made graph of Cora's size, GCN-256, {method}, 35 nodes, one step at a new network"
    return dd.Pair(a.update, lambda: plainly(b), apart, setting)


def heard(data: dd.RealData) -> tuple[Tensor, Tensor, Tensor]:
    """A X of all that the nodes to train on hear, the links to them as a sparse matrix, and their classes."""
    batch = data.train.take(torch.arange(len(data.train)))
    nodes: Any = batch.inputs
    assert isinstance(nodes, Nodes)
    field = nodes.graph.field(nodes.rows, ("symmetric",), None, None)
    (links,) = field.hops
    listener, node = links.edges()
    weight = links.weight  # type: ignore[attr-defined]
    matrix = torch.sparse_coo_tensor(
        torch.stack([listener, node]), weight, (len(nodes), len(field.nodes)), check_invariants=False
    )
    return nodes.graph.propagated(1)[field.nodes], matrix.coalesce(), batch.targets


def hidden(params: dd.Params, x: Tensor) -> Tensor:
    return F.relu(F.linear(x, params["layers.1.weight"], params["layers.1.bias"]))


def matched_means(params: dd.Params, S: Tensor, classes: Tensor, x: Tensor, matrix: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        real = torch.sparse.mm(matrix, hidden(params, x))
    mine = hidden(params, S)
    k = int(y.max()) + 1
    return torch.stack([(real[y == c].mean(0) - mine[classes == c].mean(0)).square().sum() for c in range(k)]).sum()


def matched_gradients(params: dd.Params, S: Tensor, classes: Tensor, x: Tensor, matrix: Tensor, y: Tensor) -> Tensor:
    params = {name: value.detach().requires_grad_() for name, value in params.items()}
    leaves = list(params.values())

    def logits(h: Tensor) -> Tensor:
        return F.linear(h, params["head.weight"], params["head.bias"])

    real = F.cross_entropy(logits(torch.sparse.mm(matrix, hidden(params, x))), y, reduction="none")
    mine = F.cross_entropy(logits(hidden(params, S)), classes, reduction="none")
    total = torch.zeros((), device=x.device)
    for c in range(int(y.max()) + 1):
        wanted = torch.autograd.grad(real[y == c].mean(), leaves, retain_graph=True)
        found = torch.autograd.grad(mine[classes == c].mean(), leaves, create_graph=True)
        total = total + DISTANCE(dict(zip(params, found, strict=True)), dict(zip(params, wanted, strict=True)))
    return total
