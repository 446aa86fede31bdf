"""Whole graphs as items."""

import copy

import pytest
import torch
from ddcore_graph import TU, GraphNet, graph_data

import ddcore
from ddcore import BadData, RecipeRefused, testing
from ddcore import plugin as dd


def rings_and_stars(count, seed):
    """Rings are class 0, stars class 1; features say nothing."""
    from torch_geometric.data import Data

    generator, found = torch.Generator().manual_seed(seed), []
    for i in range(count):
        n = int(torch.randint(5, 9, (), generator=generator))
        at = torch.arange(n)
        edges = torch.stack([at, at.roll(1)]) if i % 2 == 0 else torch.stack([at[1:], torch.zeros(n - 1).long()])
        found.append(Data(x=torch.ones(n, 2), edge_index=torch.cat([edges, edges.flip(0)], 1), y=torch.tensor([i % 2])))
    return found


@pytest.fixture(scope="module")
def shapes():
    return graph_data("shapes", rings_and_stars(40, 0), rings_and_stars(20, 1), rings_and_stars(10, 2))


def test_a_graph_is_a_table_of_features_and_links(shapes):
    assert shapes.card.kind == "graph" and shapes.card.shape == (8, 10) and shapes.card.apart
    table = shapes.train.take(torch.tensor([0])).inputs[0]
    n = int(table[:, 2:].diagonal().sum())
    assert torch.equal(table[:n, :2], torch.ones(n, 2)) and not table[n:].any()
    assert torch.equal(table[:, 2:].sum(1)[:n], torch.full((n,), 3.0)), "a ring's node has two neighbours and itself"


def test_the_network_is_the_formula_and_padding_changes_nothing(shapes):
    network = GraphNet(width=5).ready(shapes.card)
    params, _ = network.init(torch.Generator().manual_seed(0))
    table = shapes.train.take(torch.tensor([30])).inputs
    n = int(table[0, :, 2:].diagonal().sum())
    h, links = table[0, :n, :2], table[0, :n, 2 : 2 + n]
    scale = torch.diag(links.sum(1) ** -0.5)
    for i in range(2):
        h = (scale @ links @ scale @ h @ params[f"{i}.weight"].T + params[f"{i}.bias"]).relu()
    wanted = h.mean(0) @ params["2.weight"].T + params["2.bias"]
    assert torch.allclose(network(params, {}, table)[0], wanted, atol=1e-5)
    stacked = {name: torch.stack([value, value]) for name, value in params.items()}
    both = network(stacked, {}, table.expand(2, *table.shape), ensemble=2)
    assert torch.allclose(both[:, 0], wanted.expand(2, -1), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"), [("network", "graph_gcn"), ("carrier", "sampled_graphs"), ("method", "doscond_graphs")]
)
def test_parts_for_graphs_keep_the_rules(kind, name, shapes):
    host = ddcore.Host()
    maker = host.catalogue.find(kind, name).maker
    part = testing.smaller(maker()) if isinstance(maker, type) else maker
    getattr(testing, "check_recipe" if kind == "method" else f"check_{kind}")(part, data=shapes, host=host)


@pytest.mark.parametrize("name", ["doscond_graphs", "random"])
def test_graphs_go_the_whole_way(name, shapes, tmp_path):
    host = ddcore.Host()
    given = {"iterations": 4} if name != "random" else {}
    recipe = host.recipe(name, kind="graph", ipc=2, overrides={"network.width": 8}, **given)
    run, again = host.start(recipe, shapes), host.start(recipe, shapes)
    run.run_until(2)
    again.load_state_dict(copy.deepcopy(run.state_dict()))
    run.run_until()
    again.run_until()
    found = ddcore.DistilledSet.load(run.export().save(tmp_path / "graphs.safetensors"))
    assert torch.equal(found.inputs, again.export().inputs)
    links = found.inputs[..., 2:]
    assert torch.equal(links, links.mT) and {*links.unique().tolist()} == {0.0, 1.0}
    protocol = dd.Protocol(steps=5, lr=(0.02,), augment=None, repeats=1, networks=(GraphNet(width=16),))
    score = ddcore.evaluate(found, shapes, protocol, host=host)["accuracy"]["graph_gcn"]
    assert len(score.finite) == 1


def test_what_is_no_graph_is_refused(tmp_path):
    broken = rings_and_stars(4, 0)
    broken[2].x = None
    with pytest.raises(BadData, match=r"graph 2 of train has not all of x.*OneHotDegree"):
        graph_data("broken", broken, broken)
    with pytest.raises(BadData, match="cannot be read below"):
        TU(str(tmp_path), "../nothing").load()
    with pytest.raises(RecipeRefused, match="no graphs"):
        GraphNet().build(dd.DataCard("made", (4, 3), 2, (1, 1), kind="graph"))
