"""Carriers of nodes: how many of each class, where they begin, and the links that they learn."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from ddcore_graph import PairedNodes, SampledNodes, condensed
from ddcore_graph.carriers.base import shares
from ddcore_graph.picking import centres

from ddcore import DistilledSet, RecipeRefused
from ddcore import plugin as dd


@pytest.mark.parametrize(
    ("total", "counts", "found"),
    [
        (35, (20,) * 7, (5,) * 7),
        (10, (60, 30, 10), (6, 3, 1)),
        (5, (96, 2, 1, 1), (2, 1, 1, 1)),
        (3, (1000, 1, 1), (1, 1, 1)),
        (7, (1, 1, 1), (3, 2, 2)),
    ],
)
def test_nodes_are_shared_in_the_ratio_of_the_classes(total, counts, found):
    assert shares(total, counts) == found


@pytest.mark.parametrize("name", ["gcdm_x", "gcdm", "doscond", "node_centres", "coarsening", "k_center_nodes"])
def test_as_many_nodes_as_are_asked_for(name, communities, graph_host):
    recipe = graph_host.recipe(name, kind="node", overrides={"synthetic.nodes": 10})
    recipe = replace(recipe, iterations=1) if recipe.objective else recipe
    found = graph_host.distill(recipe, communities)
    assert len(found) == 10 and len(condensed(found).y) == 10
    few = replace(recipe, synthetic=replace(recipe.synthetic, nodes=2))
    with pytest.raises(RecipeRefused, match=r"synthetic.nodes = 2, and communities has 3 classes"):
        graph_host.start(few, communities)
    many = replace(recipe, synthetic=replace(recipe.synthetic, nodes=100))
    with pytest.raises(RecipeRefused, match=r"synthetic.nodes = 100 takes \d+ labelled nodes of class"):
        graph_host.start(many, communities)


@pytest.mark.parametrize(("init", "hops"), [("rows", 0), ("rows", 2), ("farthest", 2), ("centres", 2), ("noise", 0)])
def test_a_start_is_rows_of_what_is_heard(init, hops, communities, graph_host):
    changes = {"synthetic.init": init, "synthetic.hops": hops}
    run = graph_host.start(graph_host.recipe("gcdm_x", kind="node", ipc=2, overrides=changes), communities)
    run.start()
    carrier, heard = run.synthetic.carrier, communities.train.inputs.propagated(hops)
    apart = torch.cdist(carrier.features.detach(), heard, compute_mode="donot_use_mm_for_euclid_dist")
    assert (float(apart.amin(1).max()) < 1e-6) == (init in ("rows", "farthest"))
    if init != "noise":
        assert torch.equal(communities.train.targets[apart.argmin(1)], carrier.classes)


def test_what_is_picked():
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    assert dd.farthest(points, 2).tolist() == [2, 3]
    assert sorted(dd.herd(points, points.mean(0), 4).tolist()) == [0, 1, 2, 3]


def test_centres_are_means_of_equal_groups_of_nearby_points():
    far, near = torch.tensor([[0.0], [100.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    points = (far[:, None] + near).reshape(-1, 1)[torch.tensor([3, 0, 5, 1, 4, 2])]
    assert sorted(centres(points, 2).flatten().tolist()) == [1.0, 101.0]
    many = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    for n in range(1, 21):
        found = centres(many, n)
        assert found.shape == (n, 30) and bool(found.isfinite().all())
        if 20 % n == 0:
            torch.testing.assert_close(found.mean(0), many.mean(0))
    assert sorted(centres(many, 20).sum(1).tolist()) == pytest.approx(sorted(many.sum(1).tolist()))
    assert centres(torch.ones(6, 2), 4).tolist() == [[1.0, 1.0]] * 4


@pytest.fixture
def double():
    """Turns new tensors to float64, so that a step can be too small to reach a kink."""
    yield lambda: torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("plan", [PairedNodes(2, width=4), SampledNodes(2)], ids=["paired", "sampled"])
@pytest.mark.parametrize("method", ["gcdm", "gcond"])
def test_the_loss_of_links_is_differentiated_exactly(plan, method, communities, graph_host, double):
    """Against finite differences in float64, with respect to features and what links are made of."""
    recipe = graph_host.recipe(method, kind="node", ipc=2, overrides={"network.width": 4, "policy.name": "fresh"})
    rates = {"inputs": 1e-4, "edges": 1e-4}
    recipe = replace(recipe, synthetic=plan, update=replace(recipe.update, lr=rates, turns={}))
    run = graph_host.start(recipe, communities)
    run.start()
    draw = run.ctx.fresh()
    run.synthetic.carrier.follow(draw, torch.Generator().manual_seed(0))
    run.synthetic.double()
    store = communities.train
    draw = replace(draw, params={name: value.double() for name, value in draw.params.items()})
    graph = store.inputs.graph
    objective = recipe.objective

    def loss():
        for group in run.synthetic.groups().values():
            for parameter in group:
                parameter.grad = None
        return sum(objective.accumulate(draw, run.synthetic, run.ctx))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graph, "_features", graph.features.double())
        patched.setattr(graph, "_weight", graph._weight.double())
        patched.setattr(graph, "_known", {})
        double()
        loss()
        generator = torch.Generator().manual_seed(1)
        for group in run.synthetic.groups().values():
            along = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in group]
            slope = sum(float((p.grad * d).sum()) for p, d in zip(group, along, strict=True))
            step, ends = 1e-6, []
            kept = [p.grad.clone() for p in group]
            for sign in (1, -1):
                with torch.no_grad():
                    for p, d in zip(group, along, strict=True):
                        p.add_(sign * step * d)
                ends.append(loss())
                with torch.no_grad():
                    for p, d in zip(group, along, strict=True):
                        p.sub_(sign * step * d)
            for p, g in zip(group, kept, strict=True):
                p.grad = g
            found = (ends[0] - ends[1]) / (2 * step)
            assert found == pytest.approx(slope, rel=1e-3, abs=1e-8)
            loss()


@pytest.mark.parametrize("name", ["gcdm", "gcond", "doscond"])
def test_links_are_built_once_a_step(name, communities, graph_host, monkeypatch):
    changes = {"policy.name": "fresh"}
    run = graph_host.start(graph_host.recipe(name, kind="node", ipc=2, iterations=4, overrides=changes), communities)
    run.run_until(1)
    built = []
    made = type(run.synthetic.carrier).adjacency
    monkeypatch.setattr(type(run.synthetic.carrier), "adjacency", lambda self: built.append(1) or made(self))
    run.run_until(2)
    assert len(built) == 1


@pytest.mark.parametrize("name", ["gcdm", "doscond", "coarsening"])
def test_a_graph_is_saved_loaded_and_read_without_the_plugin(name, communities, graph_host, tmp_path):
    recipe = graph_host.recipe(name, kind="node", ipc=3)
    recipe = replace(recipe, iterations=2) if recipe.objective else recipe
    found = graph_host.distill(recipe, communities)
    path = found.save(tmp_path / "graph.safetensors")
    data = condensed(DistilledSet.load(path))
    assert data.validate()
    assert data.train_mask.all() and data.num_nodes == 9
    weights = found.latent["adjacency"]
    assert float(weights.min()) >= 0 and float(weights.max()) <= 1
    if name == "gcdm":
        assert not bool(((weights > 0) & (weights < 0.05)).any()), "links below the threshold are left out"
    if name == "doscond":
        assert {*weights.unique().tolist()} <= {0.0, 1.0}
    if name != "gcdm":
        return
    code = (
        "import sys\nsys.modules['ddcore_graph'] = None\nimport ddcore\n"
        f"s = ddcore.DistilledSet.load({str(path)!r})\nprint(tuple(s.latent['adjacency'].shape), len(s.targets))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(9, 9) 9", done.stderr


def test_trajectories_want_nodes_without_links(communities, graph_host):
    recipe = graph_host.recipe("sfgc", kind="node", overrides={"synthetic.name": "paired_nodes"})
    with pytest.raises(RecipeRefused, match="take synthetic.name = free_nodes"):
        graph_host.start(recipe, communities)
