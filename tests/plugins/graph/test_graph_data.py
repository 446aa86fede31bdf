"""Graphs as data sets: Planetoid's files, PyTorch Geometric's Data, and what is refused of them."""

import pickle
from pathlib import Path

import pytest
import torch
from ddcore_graph import Communities, FixedGraph, Nodes, Noise, Planetoid, node_data, real_data
from torch_geometric import transforms
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid as Theirs

from ddcore import BadData, RecipeRefused
from ddcore import plugin as dd

COUNTS = {"cora": ("Cora", 2708, 10556, 140, 7), "citeseer": ("CiteSeer", 3327, 9104, 120, 6)}


@pytest.mark.parametrize("name", COUNTS)
def test_planetoid_is_what_pytorch_geometric_reads(name, shared):
    folder, n, links, labelled, classes = COUNTS[name]
    root = shared(f"Planetoid/{folder}").parent
    data = Planetoid(str(root.parent), name).load()
    theirs = Theirs(str(root), folder, transform=transforms.NormalizeFeatures())[0]
    graph = data.train.inputs.graph
    assert (len(graph), graph.edge_index.shape[1], len(data.train), data.card.classes) == (n, links, labelled, classes)
    assert torch.allclose(graph.features, theirs.x)
    pairs = {tuple(pair) for pair in theirs.edge_index.T.tolist() if pair[0] != pair[1]}
    assert pairs == {tuple(pair) for pair in graph.edge_index.T.tolist()}
    for split, mask in ((data.train, "train_mask"), (data.validation, "val_mask"), (data.test, "test_mask")):
        rows = split.inputs.rows.sort().values
        assert torch.equal(rows, theirs[mask].nonzero().flatten())
        assert torch.equal(split.targets, theirs.y[split.inputs.rows])
    assert not data.card.apart and any("nodes have no links" in note for note in data.notes) == (name == "citeseer")


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda raw: (raw / "ind.cora.x").write_bytes(pickle.dumps(Trap())), "names pathlib"),
        (lambda raw: (raw / "ind.cora.graph").write_bytes(b"cos\nsystem\n(S'touch sprung'\ntR."), "names os.system"),
        (lambda raw: (raw / "ind.cora.tx").write_bytes((raw / "ind.cora.tx").read_bytes()[:999]), "cannot be read"),
        (lambda raw: (raw / "ind.cora.ally").unlink(), "There is no file .*ind.cora.ally"),
        (lambda raw: (raw / "ind.cora.test.index").write_text("1\n2\n"), "do not fit together"),
        (lambda raw: (raw / "ind.cora.graph").write_bytes(pickle.dumps({0: [99999]})), "do not fit together"),
    ],
)
def test_files_that_are_not_planetoids_are_refused_and_run_nothing(spoil, sentence, shared, tmp_path, monkeypatch):
    raw = shared("Planetoid/Cora") / "raw"
    monkeypatch.chdir(tmp_path)
    raw.chmod(0o755)
    for path in raw.iterdir():
        path.chmod(0o644)
    spoil(raw)
    with pytest.raises(BadData, match=sentence):
        Planetoid(str(tmp_path / "data")).load()
    assert not Path("sprung").exists()


def made(**changes):
    n = 12
    fields = {"x": torch.rand(n, 5), "edge_index": torch.randint(n, (2, 20)), "y": torch.arange(n) % 3}
    at = torch.arange(n)
    fields |= {"train_mask": at < 6, "val_mask": (at >= 6) & (at < 9), "test_mask": at >= 9}
    return Data(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": None}, "has no x"),
        ({"y": None}, "has no y"),
        ({"x": torch.full((12, 5), torch.nan)}, "finite features"),
        ({"edge_index": torch.rand(2, 4)}, "Wanted are links"),
        ({"edge_index": torch.tensor([[0], [12]])}, "A link names a node that is not among the 12"),
        ({"edge_weight": -torch.ones(20)}, "at least 0 for each link"),
        ({"y": torch.arange(11) % 3}, "one class for each of 12"),
        ({"y": torch.rand(12)}, "not one class per node"),
        ({"train_mask": None}, "says not which of its 12 nodes are for train.*RandomNodeSplit"),
        ({"val_mask": torch.zeros(12).bool()}, "for validation names no node"),
        ({"test_mask": torch.ones(12).bool()}, "overlap in 9 nodes"),
        ({"y": torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 2, 0, 1, 2])}, "Class 2 of graph has no node to train on"),
    ],
)
def test_what_a_data_lacks_is_said_in_a_sentence(changes, sentence):
    real_data(made())
    with pytest.raises(BadData, match=sentence):
        real_data(made(**changes))


def test_masks_of_several_splits_and_weights_are_read():
    one = made()
    two = made(
        x=one.x,
        edge_index=one.edge_index,
        edge_weight=torch.full((20,), 0.5),
        **{m: torch.stack([one[m], one[m].roll(1)], 1) for m in ("train_mask", "val_mask", "test_mask")},
    )
    assert torch.equal(real_data(two, split=1).train.inputs.rows.sort().values, torch.arange(1, 7))
    assert float(real_data(two).train.inputs.graph.edge_weight.max()) == 0.5


def test_inductive_nodes_hear_each_other_alone():
    data = Communities(nodes=120, classes=3, features=12, inductive=True).load()
    own, whole = data.train.inputs.graph, data.test.inputs.graph
    assert len(own) == len(data.train) == 12 and len(whole) == 120
    assert {tuple(x) for x in own.features.tolist()} <= {tuple(x) for x in whole.features.tolist()}
    assert "hear each other alone" in data.notes[-1]


def test_a_guarding_gate_and_shards_refuse_nodes(communities, graph_host):
    with pytest.raises(BadData, match="know each other"):
        communities.subset(torch.arange(5))
    recipe = graph_host.recipe(
        "gcdm_x", kind="node", overrides={"gate.name": "private_gate", "synthetic.init": "noise"}
    )
    with pytest.raises(RecipeRefused, match=r"gate = private_gate bounds .*know each other"):
        graph_host.start(recipe, communities)


def test_noise_is_in_what_is_learned_from_and_not_in_what_is_tested(communities):
    noisy = Noise(structure=1.0, features=0.5, labels=0.5).applied(communities, seed=0)
    clean, spoiled = communities.train.inputs.graph, noisy.train.inputs.graph
    assert noisy.test is communities.test
    assert spoiled.edge_index.shape[1] > 1.7 * clean.edge_index.shape[1]
    differ = (spoiled.features != clean.features).float().mean()
    assert 0.05 < float(differ) < 0.5
    kept = {int(row): int(c) for row, c in zip(communities.train.inputs.rows, communities.train.targets, strict=True)}
    wrong = [kept[int(row)] != int(c) for row, c in zip(noisy.train.inputs.rows, noisy.train.targets, strict=True)]
    assert 0.3 < sum(wrong) / len(wrong) < 0.7
    assert noisy.card.counts == noisy.train.counts and min(noisy.train.counts) > 0
    quiet = Noise(structure=0.0, features=0.0, labels=0.0).applied(communities, seed=0)
    assert quiet.train.content == communities.train.content


def test_isolated_nodes_are_told_of_and_hear_themselves():
    x, y = torch.rand(6, 2), torch.arange(6) % 2
    masks = {s: torch.tensor([i // 2 == j for i in range(6)]) for j, s in enumerate(("train", "validation", "test"))}
    data = node_data("small", FixedGraph(x, torch.tensor([[0, 1], [1, 0]])), y, masks)
    assert "4 nodes have no links" in data.notes[-1]
    assert torch.allclose(Nodes(data.test.inputs.graph, torch.tensor([5])).propagated(2), x[5:])
    assert isinstance(data.train, dd.Store)
