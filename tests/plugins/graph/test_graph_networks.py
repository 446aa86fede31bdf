"""Graph networks: against PyTorch Geometric, alone and among others, by rows and as a whole."""

import pytest
import torch
from ddcore_graph import APPNP, GAT, GCN, SGC, GraphSAGE, NodeMLP, Nodes
from ddcore_graph.graph import LearnedGraph
from torch.func import functional_call

from ddcore import plugin as dd

PLANS = [GCN(width=6), GCN(width=6, depth=3), SGC(), SGC(hidden=1, width=6), GAT(width=3, heads=2), GraphSAGE(width=6)]
PLANS += [APPNP(width=6, steps=3), NodeMLP(width=6)]


def name(plan):
    return str(plan)


def begun(plan, data, seed=0):
    network = plan.ready(data.card)
    return dd.Draw(network, *network.init(torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_a_node_is_answered_alike_alone_and_among_others(plan, communities):
    draw, nodes = begun(plan, communities), communities.test.inputs
    every = draw(nodes, training=False)
    rows = torch.tensor([3, 1, 3, 20])
    assert every.shape == (len(nodes), 3)
    assert torch.allclose(draw(nodes[rows], training=False), every[rows], atol=1e-5)
    features = draw(nodes[rows], features=True, training=False)
    head = [draw.params[f"head.{what}"] for what in ("weight", "bias")]
    assert torch.allclose(features @ head[0].T + head[1], every[rows], atol=1e-5)


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_nets_side_by_side_are_as_each_alone(plan, communities):
    draws = [begun(plan, communities, seed) for seed in (0, 1)]
    params = {k: torch.stack([d.params[k] for d in draws]) for k in draws[0].params}
    together = dd.Draw(draws[0].network, params, {}, ensemble=2)
    for inputs in (communities.train.inputs[torch.arange(8).view(2, 4)], torch.rand(2, 4, 24)):
        each = torch.stack([d(x, training=False) for d, x in zip(draws, (inputs[0], inputs[1]), strict=True)])
        assert torch.allclose(together(inputs, training=False), each, atol=1e-5)


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_nodes_without_links_are_those_of_a_graph_that_has_none(plan, communities):
    draw, x = begun(plan, communities), torch.rand(5, 24)
    linked = draw(Nodes(LearnedGraph(x, torch.zeros(5, 5)), torch.arange(5)), training=False)
    if isinstance(plan, GraphSAGE):
        assert not torch.allclose(draw(x, training=False), linked), "it hears itself in the place of neighbours"
    else:
        assert torch.allclose(draw(x, training=False), linked, atol=1e-5)


@pytest.mark.parametrize(
    ("plan", "made", "ours"),
    [
        (GCN(width=5), "GCN", {"convs.0": "layers.1", "convs.1": "head"}),
        (GraphSAGE(width=5), "GraphSAGE", {"convs.0": "layers.1", "convs.1": "head"}),
    ],
    ids=["gcn", "sage"],
)
def test_it_is_the_network_of_pytorch_geometric(plan, made, ours, communities):
    from torch_geometric.nn import models

    graph = communities.test.inputs.graph
    module = getattr(models, made)(24, 5, 2, 3).eval()
    draw = begun(plan, communities)
    state = {}
    for theirs, mine in ours.items():
        weight, bias = draw.params[f"{mine}.weight"], draw.params[f"{mine}.bias"]
        if made == "GCN":
            state |= {f"{theirs}.lin.weight": weight, f"{theirs}.bias": bias}
        else:
            own, near = weight.chunk(2, 1)
            state |= {f"{theirs}.lin_r.weight": own, f"{theirs}.lin_l.weight": near, f"{theirs}.lin_l.bias": bias}
    there = functional_call(module, state, (graph.features, graph.edge_index))
    mine = draw(Nodes(graph, torch.arange(len(graph))), training=False)
    assert torch.allclose(mine, there, atol=1e-5)


def test_attention_is_the_softmax_over_those_that_are_heard(communities):
    draw, graph = begun(GAT(width=3, heads=2), communities), communities.test.inputs.graph
    params, n = draw.params, len(graph)
    heard = torch.eye(n).bool()
    heard[graph.edge_index[1], graph.edge_index[0]] = True

    def attended(h, path, heads):
        outs = []
        for head, part in enumerate(h.chunk(heads, 1)):
            score = part @ params[f"{path}.listener"][head][:, None] + (part @ params[f"{path}.heard"][head])[None]
            score = torch.nn.functional.leaky_relu(score, 0.2).masked_fill(~heard, -torch.inf)
            outs.append(score.softmax(1) @ part)
        return torch.cat(outs, 1)

    h = graph.features @ params["layers.0.weight"].T + params["layers.0.bias"]
    h = attended(torch.nn.functional.elu(attended(h, "layers.1", 2)), "layers.4", 1)
    wanted = h @ params["head.weight"].T + params["head.bias"]
    assert torch.allclose(draw(Nodes(graph, torch.arange(n)), training=False), wanted, atol=1e-5)


def test_pagerank_is_its_recursion(communities):
    draw, graph = begun(APPNP(width=6, steps=3, restart=0.2), communities), communities.test.inputs.graph
    n = len(graph)
    heard = torch.eye(n)
    heard[graph.edge_index[1], graph.edge_index[0]] = 1
    scale = torch.diag(heard.sum(1) ** -0.5)
    first = (graph.features @ draw.params["layers.0.weight"].T + draw.params["layers.0.bias"]).relu()
    z = first
    for _ in range(3):
        z = 0.8 * scale @ heard @ scale @ z + 0.2 * first
    assert torch.allclose(draw(Nodes(graph, torch.arange(n)), features=True, training=False), z, atol=1e-5)


def test_dropout_draws_from_the_net_s_own_stream(communities):
    network = GCN(width=6).ready(communities.card)
    params, _ = network.init(torch.Generator().manual_seed(0))
    x = communities.train.inputs[0:4]

    def answer(seed):
        return network.apply(dd.Call(params, {}, generators=(torch.Generator().manual_seed(seed),)), x)

    assert torch.equal(answer(0), answer(0))
    assert not torch.equal(answer(0), answer(1))
    assert network.stochastic
    assert not GCN(dropout=0.0).ready(communities.card).stochastic


def test_what_is_learned_of_links_is_differentiated_twice(communities):
    """Matching gradients differentiates gradients with respect to links and features."""
    torch.manual_seed(0)
    network = GCN(width=3, dropout=0.0).build(communities.card)
    params, _ = network.init(torch.Generator().manual_seed(0))
    params = {k: v.double().requires_grad_() for k, v in params.items()}

    def norm(x, links):
        out = network(params, {}, Nodes(LearnedGraph(x, (links + links.T).sigmoid()), torch.arange(4)))
        grads = torch.autograd.grad(out.logsumexp(1).sum(), list(params.values()), create_graph=True)
        return torch.stack([g.square().sum() for g in grads]).sum()

    x = torch.rand(4, 24, dtype=torch.float64, requires_grad=True)
    links = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x, links))
