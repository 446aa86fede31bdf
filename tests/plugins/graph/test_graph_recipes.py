"""The methods on a made graph: they move S, go on after a stop bit for bit, and are what their papers say."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from ddcore_graph import GCN, Nodes, NodeTangent, condense, tangent_accuracy
from ddcore_graph.graph import LearnedGraph
from ddcore_graph.recipes import CONDENSE, TAKE
from typer.testing import CliRunner

import ddcore
from ddcore import plugin as dd
from ddcore.cli import app

SMALL = {"network.width": 8, "synthetic.nodes": 6}
SHORT = {"sfgc": {"policy.experts": 1, "policy.fit.steps": 40}, "geom": {"policy.experts": 1, "policy.fit.steps": 40}}
QUICK = dd.Protocol(
    steps=150, batch=1000, lr=(0.05,), augment=None, repeats=2, networks=(GCN(width=16),), schedule=dd.Constant()
)


@pytest.mark.parametrize("method", CONDENSE, ids=lambda method: method.__name__)
def test_a_method_moves_all_that_it_learns_and_goes_on_after_a_stop(method, communities, graph_host):
    name = method.__name__
    turns = {} if name not in ("gcond", "gcdm") else {"update.turns": '{"edges"=1, "inputs"=2}'}
    recipe = graph_host.recipe(name, kind="node", iterations=4, overrides={**SMALL, **SHORT.get(name, {}), **turns})
    straight, again = graph_host.start(recipe, communities), graph_host.start(recipe, communities)
    straight.start()
    begun = {n: [p.detach().clone() for p in group] for n, group in straight.synthetic.groups().items()}
    straight.run_until(2)
    again.load_state_dict(copy.deepcopy(straight.state_dict()))
    for run in (straight, again):
        run.run_until()
    for group, parameters in straight.synthetic.groups().items():
        assert any(not torch.equal(p, b) for p, b in zip(parameters, begun[group], strict=True)), group
    one, other = straight.export(), again.export()
    assert torch.equal(one.inputs, other.inputs)
    assert all(torch.equal(value, other.latent[key]) for key, value in one.latent.items())


@pytest.mark.parametrize("name", ["gcdm_x", "gcdm", "coarsening", *(method.__name__ for method in TAKE[:2])])
def test_networks_learn_from_what_comes_out(name, communities, graph_host):
    """Twelve nodes teach far better than chance, which is a third."""
    recipe = graph_host.recipe(name, kind="node", ipc=4)
    recipe = replace(recipe, iterations=5) if recipe.objective else recipe
    found = graph_host.distill(recipe, communities)
    score = ddcore.evaluate(found, communities, QUICK, host=graph_host)["accuracy"]["gcn"]
    assert score.mean > 50


def test_networks_are_trained_with_the_links(communities, graph_host, monkeypatch):
    found = graph_host.distill(graph_host.recipe("coarsening", kind="node", ipc=4), communities)
    asked = []
    field = LearnedGraph.field
    monkeypatch.setattr(LearnedGraph, "field", lambda self, *given: asked.append(self) or field(self, *given))
    ddcore.evaluate(found, communities, replace(QUICK, steps=2), host=graph_host)
    assert len(asked) == 2
    assert torch.equal(asked[0].adjacency, found.latent["adjacency"])


def test_the_core_s_methods_take_nodes_at_rates_that_nodes_bear(communities, graph_host):
    for name in ("dm", "random", "herding"):
        given = {"iterations": 2} if name == "dm" else {}
        recipe = graph_host.recipe(name, kind="node", ipc=2, overrides={"network.width": 8}, **given)
        found = graph_host.distill(recipe, communities)
        assert found.inputs.shape == (6, 24) and float(found.inputs.abs().max()) < 5
    assert graph_host.recipe("dm", kind="node").update.lr == {"inputs": 1e-4}
    plain = graph_host.kind("node").adapted(dd.Protocol())
    assert plain.batch > 10_000 and plain.networks == (GCN(),)


@pytest.mark.parametrize("name", ["gcond_x", "gcond", "doscond_x", "doscond"])
def test_the_distance_of_gradients_does_not_fall_as_small_ones_grow(name, graph_host):
    """Products of norms are about 1e-6 where features are a bag of words."""
    distance = graph_host.recipe(name, kind="node").objective.distance
    generator = torch.Generator().manual_seed(0)
    s, t = ({"weight": 1e-4 * torch.randn(8, 100, generator=generator)} for _ in range(2))
    longer = {"weight": 2 * s["weight"]}
    assert float(distance(longer, t)) == pytest.approx(float(distance(s, t)), rel=1e-4)


@pytest.mark.parametrize("name", ["gcond_x", "doscond_x"])
def test_a_step_of_matched_gradients_has_a_longest_length(name, communities, graph_host):
    recipe = graph_host.recipe(name, kind="node", iterations=1, overrides={**SMALL, "update.clip": 1e-3})
    assert isinstance(recipe.update.optimiser, dd.Sgd) and recipe.update.lr == {"inputs": 1e-4}
    run = graph_host.start(replace(recipe, update=replace(recipe.update, lr={"inputs": 10.0})), communities)
    run.start()
    begun = run.synthetic.carrier.features.detach().clone()
    run.update()
    moved = run.synthetic.carrier.features.detach() - begun
    assert float(moved.norm()) == pytest.approx(1e-2, rel=1e-3)


def test_the_kernel_of_nodes_is_that_of_what_they_hear(communities):
    kernel, nodes = NodeTangent(), communities.train.inputs
    assert isinstance(nodes, Nodes)
    heard = nodes.propagated(2)
    assert torch.equal(kernel(nodes, nodes), kernel(heard, heard))
    assert tangent_accuracy(kernel, heard, communities.train.targets, communities) > 60


def test_condense_takes_and_gives_data(communities):
    from torch_geometric.data import Data

    graph, store = communities.test.inputs.graph, communities
    masks = {}
    for name, split in (("train_mask", store.train), ("val_mask", store.validation), ("test_mask", store.test)):
        masks[name] = torch.zeros(len(graph), dtype=torch.bool)
        masks[name][split.inputs.rows] = True
    y = torch.arange(len(graph)) % 3
    data = Data(x=graph.features, edge_index=graph.edge_index, y=y, **masks)
    small = condense(data, rate=0.05, overrides={"iterations": 2, "network.width": 8})
    assert small.num_nodes == 12 and small.validate()
    assert torch.equal(condense(data, nodes=12, overrides={"iterations": 2, "network.width": 8}).x, small.x)
    for given, sentence in [
        ({"rate": 1e-3}, "A rate of 0.001 of 240 nodes is 0 nodes.*at least 0.013"),
        ({}, "by nodes= or by rate="),
        ({"rate": 0.1, "nodes": 5}, "by nodes= or by rate="),
    ]:
        with pytest.raises(ddcore.RecipeRefused, match=sentence):
            condense(data, **given)


def test_nodes_go_through_the_front_door(tmp_path):
    folder = tmp_path / "run"
    small = ["nodes=120", "classes=3", "features=12", "labelled=0.3"]
    words = ["distill", "gcdm", "--data", "communities", "--ipc", "2", "--iterations", "3", "--out", folder]
    words += [word for said in small for word in ("--set", f"experiment.data.{said}")]
    words += ["--protocol", "nodes", "--repeats", "1", "--networks", "gcn(width=8)", "--set", "protocol.steps=5"]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"].keys() == {"gcn"}
    assert {*metrics["baselines"]} == {"random", "herding", "whole"}
    assert "A graph of 120 nodes" in " ".join(metrics["notes"])
    wrong = CliRunner().invoke(app, ["distill", "gcdm", "--data", "digits", "--out", str(tmp_path / "no")])
    assert wrong.exit_code == 2 and "for items of the kind node" in " ".join(wrong.output.split())
