"""The fair card: what is trained in which way beside what, and the scores that are made of it."""

import json
import math
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ddcore import ConvNet, Host, Protocol, RealData, RecipeRefused, fair_card
from ddcore.cli import app
from ddcore.evaluation.scores import Score
from ddcore.experiment.fair import CHOSEN, WAYS, FairCard
from ddcore.networks.mlp import MLP

PROTOCOL = Protocol(steps=6, repeats=2, networks=(MLP(width=8), ConvNet(width=4, depth=1, norm="batch")))
OVER = {"network.width": 4, "network.depth": 2, "objective.real": 4, "synthetic.bits": 8}


@pytest.fixture(scope="module")
def made(tiny):
    return Host().distill(Host().recipe("dm", ipc=4, iterations=2, overrides=OVER), tiny)


@pytest.fixture(scope="module")
def found(made, tiny):
    return fair_card(made, tiny, PROTOCOL)


def test_every_set_is_trained_on_in_every_way_at_the_bytes_of_the_set(found, made):
    assert found.scores.keys() == {"distilled", *CHOSEN, "whole"}
    assert all(list(found.scores[name]) == list(WAYS) for name in ("distilled", *CHOSEN))
    assert found.networks == ["mlp", "convnet"]
    assert all(found.bytes[name] <= made.nbytes < found.bytes[name] + 3 * 65 for name in CHOSEN)
    assert found.items["random"] == 12 and found.own == WAYS[0]
    ways = [found.scores["distilled"][way]["convnet"].values for way in WAYS]
    assert len(set(ways)) > 1, "one training stands for all ways"


def test_networks_of_another_norm_than_the_sets_are_named(found):
    norms = [sentence for sentence in found.warnings if "norm" in sentence]
    assert len(norms) == 2 and "convnet has norm batch, and the set was made on convnet with norm instance" in norms[1]


def test_the_scores_are_those_of_four_shares():
    def score(*percent):
        return {"net": Score(percent, 0.1)}

    ways = {way: score(70.0, 72.0) for way in WAYS}
    scores = {
        "distilled": {**ways, WAYS[2]: score(80.0)},
        **{name: {**ways, WAYS[0]: score(60.0), WAYS[1]: score(50.0), WAYS[2]: score(65.0)} for name in CHOSEN},
        "whole": {WAYS[0]: score(95.0)},
    }
    card = FairCard("x", scores, {}, {}, WAYS[2], ())
    found = card.label_robustness("net")
    alpha = 0.5 * (0.80 - 0.65) - 0.5 * (0.95 - 0.71)
    assert found["LRS"] == pytest.approx((math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1)))
    assert sorted(found.values())[1:] == pytest.approx([0.65, 0.71, 0.80, 0.95])
    beta = 0.5 * (0.71 - 0.60) + 0.5 * (0.71 - 0.50)
    assert card.augmentation_robustness("net") == pytest.approx(
        (math.exp(beta) - math.exp(-1)) / (math.e - math.exp(-1))
    )


def test_the_page_holds_what_was_measured_and_no_markup_of_a_strangers(found, tmp_path):
    strange = replace(found, name="<script>alert(1)</script>", warnings=("<img src=x>",))
    strange.write(tmp_path)
    page = (tmp_path / "card.html").read_text()
    assert "<script" not in page and "<img src=x" not in page and "<table>" in page
    told = json.loads((tmp_path / "card.json").read_text())
    mean = told["scores"]["distilled"][WAYS[3]]["mlp"]["mean"]
    assert f"{mean:.1f}" in (tmp_path / "card.md").read_text()
    assert (tmp_path / "card.png").stat().st_size > 5000


def test_nothing_is_trained_again_that_the_cache_has(made, tiny, found, tmp_path, monkeypatch):
    monkeypatch.setenv("DDCORE_CACHE", str(tmp_path))
    first = fair_card(made, tiny, PROTOCOL)
    monkeypatch.setattr("ddcore.evaluation.training.train", lambda *_, **__: pytest.fail("trained again"))
    assert fair_card(made, tiny, PROTOCOL).plain() == first.plain()


def test_values_have_no_card(made, tiny):
    from ddcore.testing import tiny_vectors

    data = tiny_vectors(values=2)
    recipe = Host().recipe("random", kind="vector", ipc=2)
    assert isinstance(data, RealData)
    with pytest.raises(RecipeRefused, match="have not"):
        fair_card(Host().distill(recipe, data), data)


def test_on_the_command_line(tmp_path):
    small = ["--networks", "mlp(width=4)", "--repeats", "1", "--set", "protocol.steps=2"]
    done = CliRunner().invoke(app, ["card", "zoo:digits-dm-ipc1", *small, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "card.md").read_text().startswith("# dm on digits")
