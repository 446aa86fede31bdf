"""Data sets by name: what they hold, what they refuse, and that none touches the network unasked."""

import os
import shutil
import socket
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import ddcore
from ddcore import BadData, RecipeRefused, UnknownName
from ddcore.datasets import PARTS as DATASETS
from ddcore.datasets import pictures
from ddcore.experiment.evaluating import evaluate_all

LABELS = np.array([0, 1, 2, 0, 1, 2])


def images():
    return np.zeros((6, 4, 4), np.uint8)


PAIR = {"images": images(), "labels": LABELS}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refused(*_):
        raise AssertionError("the network was touched, unasked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_digits_need_no_file(digits):
    assert digits.card.shape == (1, 16, 16)
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    raw = digits.train.inputs.double() / 255
    assert digits.card.mean[0] == pytest.approx(float(raw.mean()), abs=1e-3)
    assert digits.card.std[0] == pytest.approx(float(raw.std()), abs=1e-3)
    assert not digits.card.flips


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion", "FashionMNIST")])
def test_mnist_and_fashion_from_packed_files(name, folder, shared):
    root = shared(folder).parent
    before = sorted(path.name for path in root.rglob("*"))
    data = ddcore.load(name, root=str(root))
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.card.shape == (1, 28, 28)
    assert data.card.mean[0] == pytest.approx(float(data.train.inputs.double().mean()) / 255, abs=1e-4)
    assert data.card.std[0] == pytest.approx(float(data.train.inputs.double().std()) / 255, abs=1e-4)
    assert sorted(path.name for path in root.rglob("*")) == before, "nothing is written beside the files"


def test_torchvision_itself_reads_the_same_mnist(shared):
    from torchvision.datasets import MNIST

    root = shared("MNIST").parent
    theirs = MNIST(str(root), train=False, download=True)  # the files are there: it only unpacks them
    ours = ddcore.load("mnist", root=str(root)).test
    assert torch.equal(ours.inputs[ours.order.argsort()][:, 0], theirs.data)
    assert torch.equal(ours.targets[ours.order.argsort()], theirs.targets)


@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar10", "cifar100", "svhn"])
def test_missing_files_say_where_and_what_to_do(name, tmp_path):
    with pytest.raises(BadData, match=rf"{name} is not in .*--root.*--download"):
        ddcore.load(name, root=str(tmp_path))


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "svhn"])
def test_a_download_that_fails_has_its_sentence(name, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(BadData, match=rf"(?s){name} could not be fetched to .*no route to host.*--root"):
        ddcore.load(name, root=str(tmp_path), download=True)


def test_unpacked_idx_files_are_read_and_their_length_is_checked(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = (np.arange(10 * 28 * 28) % 251).astype(np.uint8)
    for part in ("train", "t10k"):
        head = np.array([0x803, 10, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, 10], ">i4").tobytes() + bytes(range(10)))
    data = ddcore.load("mnist", root=str(tmp_path))
    assert data.card.counts == (1,) * 10
    assert data.train.inputs.flatten().tolist() == pixels.tolist()
    (raw / "t10k-images-idx3-ubyte").write_bytes(head + pixels[:-1].tobytes())
    with pytest.raises(BadData, match="t10k-images-idx3-ubyte is damaged"):
        ddcore.load("mnist", root=str(tmp_path))


def test_a_damaged_idx_file_is_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(BadData, match="train-images-idx3-ubyte is damaged"):
        ddcore.load("mnist", root=str(tmp_path))


def test_npz_with_splits(shared):
    data = ddcore.load("npz", root=str(shared("MedMNIST/breastmnist.npz")))
    assert (len(data.train), len(data.validation), len(data.test)) == (546, 78, 156)
    assert data.card.name == "breastmnist"
    assert data.card.mean is None


def test_npz_in_one_piece_gives_a_fixed_tenth_to_test_on(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, images=rng.integers(0, 255, (60, 6, 6, 3)).astype(np.uint8), labels=np.arange(60) % 3)
    one, two = ddcore.load(str(path)), ddcore.load(str(path))
    assert one.card.counts == (18, 18, 18)
    assert one.test.counts == (2, 2, 2)
    assert torch.equal(one.test.inputs, two.test.inputs)
    taken = {x.numpy().tobytes() for x in one.train.inputs} & {x.numpy().tobytes() for x in one.test.inputs}
    assert not taken


def test_npz_that_cannot_be_used(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, pictures=images())
    with pytest.raises(BadData, match="holds pictures. Wanted: train_images"):
        ddcore.load(str(path))
    np.savez(path, images=images(), labels=LABELS)
    with pytest.raises(BadData, match="own has no test split, and no class of it has enough items.*the largest has 2"):
        ddcore.load(str(path))
    np.savez(path, images=np.array([{"a": 1}] * 6, dtype=object), labels=LABELS)
    with pytest.raises(BadData, match="cannot be read as plain arrays"):
        ddcore.load(str(path))
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(BadData, match="cannot be read as plain arrays"):
        ddcore.load(str(path))
    with pytest.raises(BadData, match="There is no file"):
        ddcore.load(str(tmp_path / "nowhere.npz"))


def test_npz_names_its_classes_in_text_or_bytes(tmp_path):
    splits = {f"{split}_{key}": value for split in ("train", "test") for key, value in PAIR.items()}
    for names in (np.array(["ä", "b", "c"]), np.array(["ä".encode(), b"b", b"c"])):
        np.savez(tmp_path / "own.npz", class_names=names, **splits)
        assert ddcore.load(str(tmp_path / "own.npz")).card.class_names == ("ä", "b", "c")


@pytest.mark.parametrize(
    "names", [np.array("abc"), np.array([["a", "b", "c"]]), np.ones(3), np.array(["a", "b", "\ud800"])]
)
def test_class_names_are_one_readable_text_each(names, tmp_path):
    np.savez(
        tmp_path / "own.npz", class_names=names, **{f"{s}_{k}": v for s in ("train", "test") for k, v in PAIR.items()}
    )
    with pytest.raises(BadData, match="is not readable text|is not a name that can be written"):
        ddcore.load(str(tmp_path / "own.npz"))


def paint(path, colour, size=(10, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes, ten grey images of each to train on."""
    for i in range(10):
        for value, name in ((50, "dark"), (200, "light")):
            paint(tmp_path / "train" / name / f"{i}.png", value + i, mode="L")
    return tmp_path


def test_a_folder_of_images(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            paint(tmp_path / split / "blue" / f"{i}.png", (0, 0, 255))
            paint(tmp_path / split / "red" / f"{i}.png", (255, 0, 0))
    data = ddcore.load(str(tmp_path))
    assert data.card.class_names == ("blue", "red")
    assert data.card.shape == (3, 8, 10)
    assert data.card.counts == (3, 3)
    assert data.train.inputs[0, :, 4, 4].tolist() == [0, 0, 255]
    assert data.train.inputs[5, :, 4, 4].tolist() == [255, 0, 0]
    assert ddcore.load(str(tmp_path), size=4).card.shape == (3, 4, 4)
    paint(tmp_path / "train" / "red" / "2.png", (255, 0, 0), size=(12, 16))
    with pytest.raises(BadData, match=r"2.png is 12x16, but .*blue/0.png is 10x8. Give the side"):
        ddcore.load(str(tmp_path))
    assert ddcore.load(str(tmp_path), size=4).train.inputs[5].shape == (3, 4, 4)
    (tmp_path / "train" / "red" / "notes.txt").write_text("hello")
    with pytest.raises(BadData, match="notes.txt is not an image that can be read"):
        ddcore.load(str(tmp_path), size=4)


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(BadData, match="There is no folder .*nowhere"):
        ddcore.load(str(tmp_path / "nowhere"))
    with pytest.raises(BadData, match="holds no folder"):
        ddcore.load(str(tmp_path))
    (tmp_path / "val").mkdir()
    with pytest.raises(BadData, match="has a folder val, but no folder train"):
        ddcore.load(str(tmp_path))
    (tmp_path / "val").rmdir()
    (tmp_path / "train").mkdir()
    with pytest.raises(BadData, match="holds no folder"):
        ddcore.load(str(tmp_path))
    (tmp_path / "train" / "red").mkdir()
    with pytest.raises(BadData, match="red holds no image"):
        ddcore.load(str(tmp_path))


def test_a_folder_without_a_test_split_gives_a_fixed_tenth(folder):
    (folder / "train" / ".cache").mkdir()
    one, two = ddcore.load(str(folder)), ddcore.load(str(folder))
    assert (one.card.counts, one.test.counts) == ((9, 9), (1, 1))
    assert torch.equal(one.test.inputs, two.test.inputs)
    values = torch.cat([one.train.inputs[:, 0, 4, 4], one.test.inputs[:, 0, 4, 4]]).sort().values
    assert values.tolist() == [*range(50, 60), *range(200, 210)]


def test_classes_right_in_the_folder_are_split_as_those_in_train(folder):
    inner, outer = ddcore.load(str(folder / "train")), ddcore.load(str(folder))
    assert inner.card.class_names == ("dark", "light")
    assert torch.equal(inner.train.inputs, outer.train.inputs)
    assert torch.equal(inner.test.inputs, outer.test.inputs)


def test_val_is_to_test_on_unless_there_is_a_test_folder(folder):
    for name in ("dark", "light"):
        paint(folder / "val" / name / "0.png", 7, mode="L")
    data = ddcore.load(str(folder))
    assert (data.card.counts, data.test.counts, data.validation) == ((10, 10), (1, 1), None)
    for name in ("dark", "light"):
        paint(folder / "test" / name / "0.png", 9, mode="L")
    data = ddcore.load(str(folder))
    assert (int(data.test.inputs[0, 0, 0, 0]), int(data.validation.inputs[0, 0, 0, 0])) == (9, 7)


def test_channels_are_one_where_all_is_grey_and_as_asked_elsewhere(folder):
    assert ddcore.load(str(folder)).card.shape == (1, 8, 10)
    three = ddcore.load(str(folder), channels=3)
    assert three.card.shape == (3, 8, 10)
    assert torch.equal(three.train.inputs[:, 0], three.train.inputs[:, 2])
    for name in ("dark", "light"):
        paint(folder / "test" / name / "0.png", (255, 0, 0))
    mixed = ddcore.load(str(folder))
    assert mixed.card.shape == (3, 8, 10), "one coloured image makes all splits coloured"
    assert mixed.test.inputs[0, :, 4, 4].tolist() == [255, 0, 0]
    assert ddcore.load(str(folder), channels=1).test.inputs[0, :, 4, 4].tolist() == [76]


def stray(folder):
    paint(folder / "train" / "stray.png", 0, mode="L")


def below(folder):
    paint(folder / "train" / "dark" / "more" / "0.png", 0, mode="L")


def unknown(folder):
    for name in ("dark", "light", "odd"):
        paint(folder / "test" / name / "0.png", 0, mode="L")


def lacking(folder):
    paint(folder / "test" / "dark" / "0.png", 0, mode="L")


def deep(folder):
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(folder / "train" / "dark" / "x.png")


def cut_short(folder):
    path = folder / "train" / "dark" / "0.png"
    path.write_bytes(path.read_bytes()[:45])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (stray, "stray.png lies next to the classes' folders"),
        (below, "more is not a file"),
        (unknown, "differ in the class odd"),
        (lacking, "differ in the class light"),
        (deep, "x.png is not an image that can be read .*more than 8 bits per channel"),
        (cut_short, "0.png is not an image that can be read"),
    ],
)
def test_nothing_in_a_folder_is_dropped_or_changed_silently(folder, spoil, sentence):
    spoil(folder)
    with pytest.raises(BadData, match=sentence):
        ddcore.load(str(folder))


# --- images that stay on disk ----------------------------------------------------------------------------


@pytest.fixture
def various(tmp_path):
    """Three classes of various sizes and kinds: 12 images of each to train on, 4 to test on."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("test", 4)):
        for c, name in enumerate(("ash", "birch", "cedar")):
            (tmp_path / "woods" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(80 * c, 80 * c + 60, (12 + i, 20 - i, 3), dtype=np.uint8)
                kind = "jpg" if i % 2 else "png"
                Image.fromarray(pixels).save(tmp_path / "woods" / split / name / f"{i}.{kind}")
    return tmp_path / "woods"


def on_disk_and_in_memory(folder, **fields):
    on_disk, in_memory = (ddcore.load(str(folder), size=8, **own) for own in ({"memory": 0, **fields}, {}))
    assert not isinstance(on_disk.train.inputs, torch.Tensor)
    assert isinstance(in_memory.train.inputs, torch.Tensor)
    return on_disk, in_memory


@pytest.mark.parametrize("memory", [0, 5 * 3 * 64])
def test_images_on_disk_are_those_in_memory(various, memory):
    on_disk, in_memory = on_disk_and_in_memory(various, memory=memory)
    assert on_disk.card == in_memory.card
    for _ in range(2):
        for one, other in ((on_disk.train, in_memory.train), (on_disk.test, in_memory.test)):
            rows = torch.tensor([7, 0, 7, len(one) - 1])
            assert torch.equal(one.take(rows).inputs, other.take(rows).inputs)
            assert torch.equal(one.targets, other.targets)
            assert (len(one), one.counts, one.nbytes) == (len(other), other.counts, other.nbytes)
            assert one.take(torch.arange(0)).inputs.shape == (0, 3, 8, 8)
    split, whole = on_disk.with_validation(0.25, seed=1), in_memory.with_validation(0.25, seed=1)
    assert torch.equal(split.validation.take(torch.arange(9)).inputs, whole.validation.take(torch.arange(9)).inputs)
    turned = 2 - on_disk.train.targets
    one, other = on_disk.train.relabelled(turned), in_memory.train.relabelled(turned)
    assert torch.equal(one.take(torch.arange(36)).inputs, other.take(torch.arange(36)).inputs)


def test_a_tenth_of_images_on_disk_is_held_out_unread(various, monkeypatch):
    def opened(*_):
        raise AssertionError("an image was decoded")

    shutil.rmtree(various / "test")
    in_memory = ddcore.load(str(various), size=8)
    monkeypatch.setattr("ddcore.datasets.folder.Pictures._image", opened)
    on_disk = ddcore.load(str(various), size=8, memory=0)
    monkeypatch.undo()
    assert on_disk.card.counts == in_memory.card.counts == (11, 11, 11)
    assert torch.equal(on_disk.test.take(torch.arange(3)).inputs, in_memory.test.take(torch.arange(3)).inputs)


def test_what_was_taken_first_is_kept_and_no_more(various, monkeypatch):
    data = ddcore.load(str(various), size=8, memory=5 * 3 * 64)
    kept = data.train.inputs.kept
    for batch in data.train.chunks(2):
        assert len(batch) == 2
    assert len(kept) == 5
    assert data.test.inputs.kept is kept, "one limit for all splits"
    decoded = []
    cropped = pictures._cropped
    monkeypatch.setattr("ddcore.datasets.pictures._cropped", lambda *given: decoded.append(1) or cropped(*given))
    data.train.take(torch.arange(7))
    assert len(decoded) == 2


def test_a_run_on_disk_is_the_run_in_memory_and_never_holds_the_set(various, host, small, monkeypatch):
    """Distilled, chosen from, evaluated beside baselines; at no time more than a class of train is there."""
    held, most = weakref.WeakSet(), []
    take = ddcore.Store.take

    def noted(store, rows):
        batch = take(store, rows)
        held.add(batch.inputs)
        most.append(sum(len(inputs) for inputs in held))
        return batch

    recipe = small(host.recipe("dm", iterations=2))
    herding = small(host.recipe("herding", overrides={"synthetic.fit.batch": 4, "synthetic.fit.steps": 3}))
    protocol = ddcore.Protocol(steps=4, batch=4, repeats=1, networks=(ddcore.MLP(width=4),))
    monkeypatch.setattr("ddcore.store.LOT_BYTES", 6 * 4 * 3 * 64)
    found = []
    for data in on_disk_and_in_memory(various):
        most.clear()
        with monkeypatch.context() as patch:
            patch.setattr(ddcore.Store, "take", noted)
            patch.setattr(sys.modules["ddcore.evaluation.training"], "chunk_bytes", lambda device: 4 * 3 * 64 * 6)
            distilled = host.distill(recipe, data)
            chosen = host.distill(herding, data)
            scores, _ = evaluate_all(distilled, data, protocol, ("random", "whole"), host, "cpu", None)
        found.append((distilled.inputs, chosen.inputs, scores))
        assert max(most) == 12
    assert all(torch.equal(one, other) for one, other in zip(found[0][:2], found[1][:2], strict=True))
    assert found[0][2] == found[1][2]


def test_items_on_disk_are_known_by_their_files_and_not_read_for_it(various, monkeypatch):
    one, same = (ddcore.load(str(various), size=8, memory=0).train for _ in range(2))
    monkeypatch.setattr(type(one.inputs), "__getitem__", None)
    assert one.content == same.content
    changed = various / "train" / "ash" / "0.png"
    os.utime(changed, ns=(0, 0))
    assert ddcore.load(str(various), size=8, memory=0).train.content != one.content


def test_items_in_memory_are_known_by_what_they_hold_lot_by_lot(various, monkeypatch):
    one = ddcore.load(str(various), size=8).train
    monkeypatch.setattr("ddcore.store.LOT_BYTES", 5 * 4 * 3 * 64)
    same = ddcore.load(str(various), size=8).train
    assert one.content == same.content
    inputs = one.inputs.clone()
    inputs[7, 0, 0, 0] ^= 1
    assert replace(one, inputs=inputs).content != one.content


def test_an_image_that_breaks_off_is_named_when_it_is_taken(various):
    path = various / "train" / "ash" / "0.png"
    path.write_bytes(path.read_bytes()[:200])
    data = ddcore.load(str(various), size=8, memory=0)
    with pytest.raises(BadData, match=r"ash/0.png is not an image that can be read .*Repair or remove it"):
        data.train.take(torch.arange(3))
    (various / "train" / "ash" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"ash/1.jpg is not an image that can be read"):
        ddcore.load(str(various), size=8, memory=0)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [("size", 0, "at least 1"), ("size", -1, "at least 1"), ("channels", 2, "1 or 3"), ("memory", -1, "at least 0")],
)
def test_sizes_and_channels_that_cannot_be(folder, field, value, sentence):
    with pytest.raises(RecipeRefused, match=f"{field} = {value}: it must be {sentence}"):
        ddcore.load(str(folder), **{field: value})


def test_a_name_comes_before_a_folder_that_is_called_so(folder, monkeypatch):
    (folder / "train").rename(folder / "digits")
    monkeypatch.chdir(folder)
    assert ddcore.load("digits").card.classes == 10
    assert ddcore.load("./digits").card.class_names == ("dark", "light")
    (folder / "digits").rename(folder / "own")
    assert ddcore.load("own").card.class_names == ("dark", "light")


def test_unknown_names_and_fields():
    with pytest.raises(UnknownName, match="no data named 'minst'. Did you mean mnist"):
        ddcore.load("minst")
    with pytest.raises(RecipeRefused, match="The data digits take no root: leave it out."):
        ddcore.load("digits", root="here")


def test_the_names():
    names = ["digits", "mnist", "fashion", "cifar10", "cifar100", "svhn", "image_folder", "npz", "table"]
    names += ["scikit_table"]
    assert sorted(data_set.part_name() for data_set in DATASETS) == sorted(names)
    assert all(data_set.kind == "data" for data_set in DATASETS)


def test_a_real_run_on_colour_images_of_ones_own(shared, host, small):
    data = ddcore.load("npz", root=str(shared("CIFAR10-subset/cifar10_subset.npz")))
    assert data.card.counts == (1000,) * 10
    run = host.start(replace(small(host.recipe("dsa", iterations=1)), iterations=1), data)
    run.run_until()
    assert tuple(run.preprocess.mean.shape) == (3,), "fitted through the gate: the file declares no mean"
    assert float(run.preprocess.mean[0]) == pytest.approx(0.494, abs=2e-3)
