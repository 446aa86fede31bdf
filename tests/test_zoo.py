"""The zoo: each set that comes with ddcore is small, whole, and worth more than random items of its ipc."""

import json
from statistics import fmean
from typing import get_args

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore import ConvNet, Host, Protocol, UnknownName
from ddcore.cli import app
from ddcore.experiment.reading import ZOO, zoo
from ddcore.levels import Bits, stored_bytes

SHORT = Protocol(steps=80, repeats=3, networks=(ConvNet(width=8),))


@pytest.mark.parametrize("name", zoo())
def test_a_set_is_in_few_bits_with_its_recipe_and_its_card(name):
    found = ddcore.load_distilled(ZOO + name)
    assert found.bits in get_args(Bits) and zoo()[name].stat().st_size < 200_000
    assert found.warnings == ()
    recipe = ddcore.Recipe.from_toml(found.recipe, Host().catalogue)
    assert name == f"{found.data.name}-{recipe.name}-ipc{recipe.ipc}"
    labels = stored_bytes(found.targets, found.bits) if found.targets.ndim == 2 else 4 * len(found)
    low_and_high = 8 * max(1, len(found.latent))
    assert found.nbytes <= found.data.classes * recipe.ipc * 4 * found.inputs[0].numel() + labels + low_and_high
    card = zoo()[name].with_suffix(".md").read_text()
    assert f"{found.nbytes:,}".replace(",", " ") in card and "Label-robust score" in card
    assert f"\nBy `ddcore card {ZOO}{name} " in card


@pytest.mark.parametrize("name", [name for name in zoo() if name.startswith("digits-")])
def test_networks_learn_more_of_it_than_of_random_items_of_its_ipc(name):
    data, found = ddcore.load("digits"), ddcore.load_distilled(ZOO + name)
    assert found.facts["fingerprint"] == data.train.content
    ipc = ddcore.Recipe.from_toml(found.recipe, Host().catalogue).ipc
    own = ddcore.evaluate(found, data, SHORT)["accuracy"]["convnet"].mean
    random = [ddcore.distill(ddcore.recipe("random", ipc=ipc), data, seed=seed) for seed in range(3)]
    assert own > fmean(ddcore.evaluate(one, data, SHORT)["accuracy"]["convnet"].mean for one in random) + 5


def test_the_zoo_is_listed_and_taken_where_a_path_is(tmp_path):
    def call(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    told = json.loads(call("list", "zoo", "--json").output)
    assert [row["name"] for row in told] == [ZOO + name for name in zoo()]
    assert [row["bits"] for row in told] == [str(ddcore.load_distilled(row["name"]).bits) for row in told]
    name = told[0]["name"]
    assert call("list", "zoo", name).output.startswith("# ")
    assert call("export", name, tmp_path / "tensors").exit_code == 0
    assert call("coarsen", name, tmp_path / "four.safetensors", "--bits", 4).exit_code == 0
    small = ["--networks", "mlp(width=4)", "--repeats", 1, "--set", "protocol.steps=2", "--baselines", "none"]
    done = call("evaluate", name, *small, "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    for words in (["evaluate", "zoo:none"], ["export", "zoo:none", tmp_path / "none"], ["list", "zoo", "none"]):
        assert "no set of the zoo named 'none'" in " ".join(call(*words).output.split())
    with pytest.raises(UnknownName, match="Known: "):
        ddcore.load_distilled("zoo:")
