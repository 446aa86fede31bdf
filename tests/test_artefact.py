"""The artefact: whole, readable without its maker, and refusing what a stranger could have made."""

import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ddcore import BadArtefact, DataCard, DistilledSet
from ddcore.files import replaced_whole
from ddcore.tensors import LabelledTensors


@pytest.fixture(scope="module")
def distilled(tiny):
    from ddcore import Host
    from ddcore.networks.convnet import ConvNet

    recipe = Host().recipe("dm", ipc=2, iterations=1, overrides={"objective.real": 4})
    return Host().distill(replace(recipe, network=ConvNet(4, 2)), tiny)


def test_saved_and_loaded_is_the_same(distilled, tmp_path):
    path = distilled.with_facts(epsilon=3.0, poisoned=True).save(tmp_path / "deep" / "set.safetensors")
    again = DistilledSet.load(path)
    assert torch.equal(again.inputs, distilled.inputs)
    assert torch.equal(again.targets, distilled.targets)
    assert again.data == distilled.data
    assert (again.method, again.recipe, again.nbytes) == ("dm", distilled.recipe, 6 * (64 * 4 + 1))
    assert again.facts == {**distilled.facts, "epsilon": 3.0, "poisoned": True}
    assert all(torch.equal(again.preprocess_state[k], v) for k, v in distilled.preprocess_state.items())
    assert os.listdir(path.parent) == ["set.safetensors"]


def test_a_consumer_without_ddcore_finds_the_decoded_tensors(distilled, tmp_path):
    tensors = load_file(distilled.save(tmp_path / "set.safetensors"))
    raw = tensors["inputs"] * tensors["preprocess.std"] + tensors["preprocess.mean"]
    assert raw.shape == (6, 1, 8, 8)
    assert tensors["targets"].tolist() == [0, 0, 1, 1, 2, 2]


def test_the_loader_is_plain_torch_and_seeded(distilled):
    batches = [list(distilled.loader(batch_size=4, seed=s)) for s in (0, 0, 1)]
    assert [len(x) for x, _ in batches[0]] == [4, 2]
    assert torch.equal(batches[0][0][0], batches[1][0][0])
    assert not torch.equal(batches[0][0][0], batches[2][0][0])


def card_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["ddcore"])


def spoiled(distilled, path, tensors=None, card=None):
    """A file like the saved one, with some tensors or card fields changed (None: left out)."""
    distilled.save(path)
    whole, told = load_file(path), card_of(path)
    whole = {k: v for k, v in {**whole, **(tensors or {})}.items() if v is not None}
    told = {k: v for k, v in {**told, **(card or {})}.items() if v is not None}
    save_file({k: v.contiguous() for k, v in whole.items()}, path, {"ddcore": json.dumps(told)})
    return path


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tensors": {"targets": None}}, "it lacks targets"),
        ({"tensors": {"inputs": torch.zeros(6, 1, 8, 9)}}, r"its items are \(1, 8, 9\), those of tiny \(1, 8, 8\)"),
        ({"tensors": {"inputs": torch.zeros(6, 1, 8, 8, dtype=torch.int64)}}, "inputs are torch.int64"),
        ({"tensors": {"inputs": torch.full((6, 1, 8, 8), torch.nan)}}, "NaN or infinite"),
        ({"tensors": {"targets": torch.tensor([0, 0, 1, 1, 2, 3])}}, "not classes from 0 to 2"),
        ({"tensors": {"targets": torch.tensor([0, 0, 1, 1, 2, -1])}}, "not classes from 0 to 2"),
        ({"tensors": {"targets": torch.zeros(5, dtype=torch.int64)}}, r"6 inputs and targets of \(5,\)"),
        ({"tensors": {"targets": torch.zeros(6, 4)}}, "targets have 4 values per item, tiny has 3 classes"),
        ({"card": {"format": 99, "new": 1}}, "has format 99; this ddcore reads 1 to 2. Install a newer one"),
        ({"card": {"method": None}}, "card of .* is damaged"),
        ({"card": {"surprise": 1}}, "card of .* is damaged"),
        ({"card": {"data": {"name": "x"}}}, "card of .* is damaged"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, sentence, distilled, tmp_path):
    with pytest.raises(BadArtefact, match=sentence):
        DistilledSet.load(spoiled(distilled, tmp_path / "set.safetensors", **change))


def test_truncated_foreign_and_missing_files_are_refused(distilled, tmp_path):
    path = distilled.save(tmp_path / "set.safetensors")
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadArtefact, match="not a whole safetensors file"):
            DistilledSet.load(path)
    torch.save({"inputs": torch.zeros(1)}, path)
    with pytest.raises(BadArtefact, match="not a whole safetensors file"):
        DistilledSet.load(path)
    save_file({"inputs": torch.zeros(1)}, path)
    with pytest.raises(BadArtefact, match="not the card of a distilled set"):
        DistilledSet.load(path)
    with pytest.raises(BadArtefact, match="There is no file"):
        DistilledSet.load(tmp_path / "nowhere.safetensors")


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replaced_whole(path, fails)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_a_file_of_the_first_format_is_read(tmp_path, monkeypatch):
    """Its card knew neither a loss nor a momentum."""
    inputs, targets = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    path = DistilledSet(LabelledTensors(inputs, targets), DataCard("made", (1, 4, 4), 2, (1, 1)), "dm", "", 34).save(
        tmp_path / "set"
    )
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["ddcore"])
    old = {name: value for name, value in card.items() if name not in ("loss", "momentum")} | {"format": 1}
    save_file({"inputs": inputs, "targets": targets}, path, {"ddcore": json.dumps(old)})
    read = DistilledSet.load(path)
    assert (read.loss, read.momentum, read.order) == ("cross_entropy", 0.0, None)
