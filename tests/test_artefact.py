"""The artefact: whole, readable without its maker, and refusing what a stranger could have made."""

import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ddcore import BadArtefact, BadData, DataCard, DdcoreError, DistilledSet
from ddcore.files import replaced_whole
from ddcore.tensors import LabelledTensors, read_tensors, write_tensors


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
    return write_tensors(path, whole, {"ddcore": json.dumps(told)})


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
        ({"card": {"format": 99, "new": 1}}, "has format 99; this ddcore reads 1 to 4. Install a newer one"),
        ({"card": {"method": None}}, "card of .* is damaged"),
        ({"card": {"surprise": 1}}, "card of .* is damaged"),
        ({"card": {"data": {"name": "x"}}}, "card of .* is damaged"),
        ({"card": {"facts": None}}, "card of .* is damaged .*facts"),
        ({"card": {"versions": None}}, "card of .* is damaged .*versions"),
        ({"card": {"facts": {"seconds": "long"}}}, "card of .* is damaged .*facts.seconds"),
        ({"card": {"facts": {"steps": -1}}}, "card of .* is damaged .*facts.steps"),
        ({"card": {"nbytes": -5}}, "card of .* is damaged .*nbytes"),
        ({"card": {"nbytes": 5}}, "it takes 5 bytes, and its labels and what it teaches by alone take 6"),
        ({"card": {"recipe": 5}}, "card of .* is damaged .*recipe"),
        ({"card": {"method": "\ud800"}}, "card of .* is damaged"),
        ({"card": {"facts": {"long": "x" * 2**23}}}, "4194304 is the most that a card has"),
        ({"card": {"preprocess": "identity"}}, "preprocessing identity is none of tiny"),
        ({"tensors": {"preprocess.std": torch.zeros(1)}}, "std is not above zero"),
        ({"tensors": {"preprocess.std": torch.full((1,), -0.1)}}, "std is not above zero"),
        ({"tensors": {"preprocess.std": torch.full((1,), torch.nan)}}, "preprocess.std holds NaN"),
        ({"tensors": {"preprocess.std": torch.ones(3)}}, r"'std': \(3,\)"),
        ({"tensors": {"preprocess.mean": None}}, "preprocessing standardise is none of tiny"),
        ({"tensors": {"targets": torch.tensor(0)}}, r"6 inputs and targets of \(\)"),
        ({"tensors": {"inputs": torch.tensor(0.0)}}, "it has 0 inputs"),
        ({"tensors": {"inputs": torch.zeros(6)}}, r"inputs are \(6,\), which are no items"),
        ({"tensors": {"inputs": torch.zeros(6, 1, 8, 8).half()}}, "inputs are torch.float16, not torch.float32"),
        ({"tensors": {"inputs": torch.zeros(6, 1, 8, 8, dtype=torch.float8_e5m2)}}, "inputs are torch.float8_e5m2"),
        ({"tensors": {"inputs": torch.zeros(6, 1, 8, 8, dtype=torch.complex64)}}, "inputs are torch.complex64"),
        ({"tensors": {"targets": torch.zeros(6, dtype=torch.bool)}}, "targets are torch.bool"),
        ({"tensors": {"targets": torch.ones(6, 3, dtype=torch.int64)}}, r"targets are torch.int64 \(6, 3\)"),
        ({"tensors": {"targets": torch.full((6, 3), torch.inf)}}, "targets hold NaN or infinite"),
        ({"tensors": {"latent.codes": torch.zeros(2, dtype=torch.complex64)}}, "latent.codes is torch.complex64"),
        ({"tensors": {"latent.codes": torch.full((2,), torch.inf)}}, "latent.codes holds NaN or infinite"),
        ({"tensors": {"teaching.boxes": torch.zeros(6, 2, 4)}}, "its crops are"),
        ({"tensors": {"teaching.odd": torch.zeros(1)}}, "teaching.odd is nothing that networks are taught by"),
        ({"tensors": {"order.x": torch.zeros(1)}}, "not numbered from 0"),
        ({"tensors": {"surprise": torch.zeros(1)}}, "holds 'surprise', which no set has"),
        ({"tensors": {"latent": torch.zeros(1)}}, "holds 'latent', which no set has"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, sentence, distilled, tmp_path):
    with pytest.raises(BadArtefact, match=sentence):
        DistilledSet.load(spoiled(distilled, tmp_path / "set.safetensors", **change))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"counts": (1, 2)}, "its counts of items are not one whole number for each of 3 classes"),
        ({"counts": (1, 2, -3)}, "its counts of items are not one whole number for each of 3 classes"),
        ({"class_names": ("a", "b")}, "its class names are not one text for each of 3 classes"),
        ({"mean": (0.1, 0.2), "std": (0.1, 0.2)}, "not one finite number for each of 1 channels"),
        ({"mean": (0.1,)}, "it has a mean and no std"),
        ({"mean": (0.1,), "std": (0.0,)}, "not above zero"),
        ({"mean": (0.1,), "std": (float("nan"),)}, "finite number"),
        ({"kind": "vector"}, r"its items are vectors of the shape \(1, 8, 8\)"),
        ({"shape": (0, 8, 8)}, r"its items are images of the shape \(0, 8, 8\)"),
        ({"classes": 0, "counts": (), "class_names": ()}, "it has 0 classes"),
        ({"values": 2}, "it has 3 classes and 2 values per item"),
        ({"values": 2, "classes": 1, "counts": ()}, "targets are classes, tiny has 2 values per item"),
    ],
    ids=str,
)
def test_a_card_that_cannot_be_is_refused_by_load_and_before_a_run(fields, sentence, distilled, tiny, host, tmp_path):
    mine = {"mean": None, "std": None, **fields}
    data = {**distilled.data.__dict__, **mine}
    with pytest.raises(BadArtefact, match=sentence):
        DistilledSet.load(spoiled(distilled, tmp_path / "set.safetensors", card={"data": data}))
    if "values" not in fields or fields.get("classes") != 1:
        with pytest.raises(BadData, match=sentence):
            host.start(host.recipe("random"), replace(tiny, card=replace(tiny.card, **mine)))


def test_a_file_without_its_checksums_is_refused(distilled, tmp_path):
    path = distilled.save(tmp_path / "set.safetensors")
    save_file(load_file(path), path, {"ddcore": json.dumps(card_of(path))})
    with pytest.raises(BadArtefact, match="has format 4, which has checksums, and none are there"):
        DistilledSet.load(path)


def test_all_files_of_tensors_are_held_to_their_checksums(tmp_path):
    strided = torch.arange(4.0)[2:3].as_strided((1,), (2,))
    write_tensors(tmp_path / "some", {"a": strided, "b": torch.zeros(3, 4).T, "c": torch.tensor(1)})
    assert read_tensors(tmp_path / "some", DdcoreError, "")[0]["a"].tolist() == [2.0]
    path = write_tensors(tmp_path / "some", {"a": torch.arange(4.0), "b": torch.zeros(0, 2)}, {"said": "x"})
    whole = path.read_bytes()
    assert read_tensors(path, DdcoreError, "")[1]["said"] == "x"
    for changed, only in ((whole[:-1] + b"\x01", None), (whole.replace(b'"x"', b'"y"'), ())):
        path.write_bytes(changed)
        with pytest.raises(DdcoreError, match="not as it was written, by its checksums. Delete it"):
            read_tensors(path, DdcoreError, "Delete it.", only)
    path.write_bytes(whole[:-1] + b"\x01")
    assert read_tensors(path, DdcoreError, "", ("b",))[0]["b"].shape == (0, 2)


def test_facts_are_kept_as_json_has_them(distilled, tmp_path):
    made = distilled.with_facts(sizes=(1, 2), table={3: None}, epsilon=float("inf"))
    assert made.facts["sizes"] == [1, 2] and made.facts["table"] == {"3": None}
    assert DistilledSet.load(made.save(tmp_path / "set")).facts == made.facts
    with pytest.raises(BadArtefact, match="facts are numbers, texts, lists and tables"):
        distilled.with_facts(tensor=torch.zeros(1))


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
