"""Graphs: who hears whom, against the formula written out on a dense matrix."""

import pytest
import torch
from ddcore_graph import FixedGraph, Nodes
from ddcore_graph.graph import LearnedGraph


def made(n=12, links=20, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(n, (2, links), generator=generator)
    return FixedGraph(torch.randn(n, d, generator=generator), torch.cat([edges, edges.flip(0)], 1))


def dense(graph):
    """A (n, n) with A_ij = 1 where i hears j."""
    found = torch.zeros(len(graph), len(graph))
    found[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight
    return found


def symmetric(adjacency):
    heard = adjacency + torch.eye(len(adjacency))
    scale = torch.diag(heard.sum(1) ** -0.5)
    return scale @ heard @ scale


def mean(adjacency):
    return adjacency / adjacency.sum(1, keepdim=True).clamp_min(1)


SLOW = {"symmetric": symmetric, "mean": mean}


def test_doubles_count_once_and_loops_not_at_all():
    edges = torch.tensor([[0, 0, 1, 2, 2], [1, 1, 0, 2, 0]])
    graph = FixedGraph(torch.eye(3), edges)
    assert dense(graph).tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("by", ["symmetric", "mean"])
def test_propagation_is_the_formula(by):
    graph = made()
    matrix = SLOW[by](dense(graph))
    assert torch.allclose(graph.propagated(2, by), matrix @ matrix @ graph.features, atol=1e-5)
    learned = LearnedGraph(graph.features, dense(graph))
    assert torch.allclose(learned.propagated(2, by), graph.propagated(2, by), atol=1e-5)


@pytest.mark.parametrize("of", [lambda g: g, lambda g: LearnedGraph(g.features, dense(g))], ids=["fixed", "learned"])
@pytest.mark.parametrize("hops", [(), ("symmetric",), ("mean", "symmetric"), ("symmetric",) * 3])
def test_a_field_is_all_that_its_rows_hear_and_no_more(of, hops):
    graph = made()
    rows = torch.tensor([5, 0, 7])
    field = of(graph).field(rows, hops, None, None)
    h, whole = graph.features[field.nodes], graph.features
    for links, by in zip(field.hops, hops, strict=True):
        h, whole = links.mixed(h), SLOW[by](dense(graph)) @ whole
    assert torch.allclose(h, whole[rows], atol=1e-5)
    again = of(graph).field(rows, hops, None, None)
    assert torch.equal(again.nodes, field.nodes), "a field leaves nothing behind"


@pytest.mark.parametrize("by", ["symmetric", "mean"])
def test_neighbours_that_are_drawn_stand_for_all_of_them_on_average(by):
    n = 41
    star = torch.stack([torch.arange(1, n), torch.zeros(n - 1, dtype=torch.long)])
    graph = FixedGraph(torch.randn(n, 2, generator=torch.Generator().manual_seed(0)), star)
    generator, rows = torch.Generator().manual_seed(0), torch.tensor([0])
    (links,) = graph.field(rows, (by,), None, None).hops
    exact = links.mixed(graph.features[graph.field(rows, (by,), None, None).nodes])
    drawn = []
    for _ in range(800):
        field = graph.field(rows, (by,), 4, generator)
        assert len(field.nodes) <= 5
        drawn.append(field.hops[0].mixed(graph.features[field.nodes]))
    drawn = torch.stack(drawn)
    away = (drawn.mean(0) - exact).abs() / (drawn.std(0) / 800**0.5)
    assert float(away.max()) < 5


def test_nodes_alone_know_each_other_and_no_others():
    graph = made()
    chosen = torch.tensor([2, 3, 7, 9])
    alone = graph.alone(chosen)
    assert torch.equal(dense(alone), dense(graph)[chosen][:, chosen])


def test_rows_of_nodes_are_one_set_of_items():
    graph = made()
    nodes = Nodes(graph, torch.arange(6))
    assert nodes.shape == (6, 3)
    assert torch.equal(nodes[torch.tensor([4, 1])].plain(), graph.features[[4, 1]])
    assert torch.equal(nodes[0:2].joined([nodes[2:6]]).plain(), nodes.plain())
    with pytest.raises(ValueError, match="nodes of one graph"):
        nodes.joined([Nodes(made(seed=1), torch.arange(2))])


def test_a_fingerprint_is_of_all_that_may_be_heard():
    nodes = Nodes(made(), torch.arange(4))
    assert nodes.fingerprint() == Nodes(made(), torch.arange(4)).fingerprint()
    assert len({Nodes(made(links=n), torch.arange(4)).fingerprint() for n in (19, 20)} | {nodes[1:].fingerprint()}) == 3
