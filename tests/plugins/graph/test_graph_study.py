"""The study, small."""

import json
from dataclasses import replace

import pytest
import torch
from ddcore_graph import GAT, GCN, SGC, Communities, Condensation, Noise, released
from ddcore_graph.carriers.base import shares
from ddcore_graph.study import summary

import ddcore
from ddcore import plugin as dd

QUICK = dd.Protocol(
    steps=15,
    batch=1000,
    lr=(0.02, 0.01),
    augment=None,
    repeats=2,
    networks=(GCN(width=8), SGC(), GAT(width=2, heads=2)),
    schedule=dd.Constant(),
)
STUDY = Condensation(
    Communities(nodes=150, classes=3, features=12, labelled=0.2),
    methods=("random", "node_centres", "gcdm_x", "gcdm"),
    nodes=(6,),
    condensing=(GCN(width=8, dropout=0.0),),
    seeds=(0, 1),
    rates=(1e-3, 1e-4),
    iterations=4,
    tried=1,
    overrides={"gcdm": {"update.turns": '{"edges"=1, "inputs"=1}'}},
    protocol=QUICK,
    noise=Noise(),
)


@pytest.fixture(scope="module")
def finding(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, ddcore.run_study(STUDY, folder)


def test_everything_stands_beside_its_nodes(finding):
    folder, found = finding
    assert [row[:2] for row in found.rows] == [
        ["whole", "30"],
        ["random", "6"],
        ["node_centres", "6"],
        ["gcdm_x", "6"],
        ["gcdm", "6"],
    ]
    assert found.head[:5] == ["method", "nodes", "gcn", "sgc", "gat"]
    by_name = {row["method"]: row for row in found.numbers["rows"]}
    assert by_name["whole"]["test"]["gcn"]["n"] == QUICK.repeats and "-" not in found.rows[0][2]
    assert by_name["gcdm_x"]["seeds"] == [0, 1]
    assert "free" in by_name["gcdm"] and "free" not in by_name["gcdm_x"]
    assert "noisy" in by_name["random"] and "noisy" not in by_name["whole"]
    assert set(by_name["gcdm_x"]["rates"]) <= {1e-3, 1e-4} and by_name["random"]["rates"] == []
    for name in ("report.md", "nodes.png", "finding.csv"):
        assert (folder / name).stat().st_size > 0
    assert len(list(folder.glob("cases/*/graph.png"))) == 8
    assert len(list(folder.glob("cases/*/condensed.safetensors"))) == 8


def test_the_nodes_to_test_on_choose_nothing(tmp_path, monkeypatch):
    """With other test nodes the same graph comes out, at the same rate."""
    seen = []
    plain = ddcore.evaluate

    def watched(training, data, protocol, **given):
        seen.append(given.get("split", "test"))
        return plain(training, data, protocol, **given)

    monkeypatch.setattr(ddcore, "evaluate", watched)
    study = replace(STUDY, methods=("gcdm_x",), seeds=(0,), noise=None, whole=False)
    (case,) = study.cases(ddcore.Host())
    numbers = study.run(case, tmp_path, ddcore.Host(), "cpu", None)
    assert seen == ["validation"] * 4 + ["test"]
    assert numbers["condensing"] <= numbers["choosing"]
    one = dd.Found(case, tmp_path, numbers)
    assert summary([one])["test"]["gcn"]["mean"] == numbers["test"]["gcn"]["mean"]


def test_a_number_of_nodes_that_classes_cannot_share_is_refused_before_the_first_case(tmp_path):
    study = replace(STUDY, methods=("random",), nodes=(6, 7), seeds=(0,), whole=False)
    with pytest.raises(ddcore.RecipeRefused, match="as many nodes of each of 3 classes, so not 7 in all, but 6"):
        ddcore.run_study(study, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_released_graph_is_measured_like_our_own(communities, tmp_path):
    n = 12
    torch.save(torch.rand(n, 24), tmp_path / "feat.pt")
    torch.save(torch.rand(n, n), tmp_path / "adj.pt")
    found = released(tmp_path / "feat.pt", tmp_path / "adj.pt", communities)
    assert tuple(torch.bincount(found.targets).tolist()) == shares(n, communities.card.counts)
    assert ddcore.evaluate(found, communities, QUICK)["accuracy"].keys() == {"gcn", "sgc", "gat"}
    again = ddcore.DistilledSet.load(found.save(tmp_path / "released.safetensors"))
    assert json.loads(json.dumps(again.facts))["released"]
    torch.save(torch.rand(n, 5), tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no tensor")
    for bad, sentence in (("other.pt", "wanted for communities"), ("text.pt", "cannot be read"), ("no.pt", "no.pt")):
        with pytest.raises(ddcore.BadArtefact, match=sentence):
            released(tmp_path / bad, tmp_path / "adj.pt", communities)
