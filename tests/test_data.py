"""Real data: the store, its draws, the checks, the data sets by name."""

import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

import ddcore
from ddcore import BadData, RealData, RecipeRefused, Store, UnknownName


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def store():
    targets = torch.tensor([2, 0, 1, 0, 2, 0])
    return Store.of(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1) * 51, targets, 3)


def test_a_store_is_sorted_by_class_and_scales_only_what_is_taken(store):
    assert store.targets.tolist() == [0, 0, 0, 1, 2, 2]
    assert store.order.tolist() == [1, 3, 5, 2, 0, 4]
    assert store.counts == (3, 1, 2)
    assert store.inputs.dtype == torch.uint8
    batch = store.take(torch.tensor([3, 5]))
    assert batch.inputs.flatten().tolist() == pytest.approx([2 * 51 / 255, 4 * 51 / 255])
    assert batch.targets.tolist() == [1, 2]


def test_draws_are_uniform_without_replacement_and_seeded():
    store = Store.of(torch.zeros(1000, 1, 1, 1, dtype=torch.uint8), torch.arange(1000) // 500, 2)
    for size in (5, 400):
        generator, hits = seeded(), torch.zeros(1000)
        for _ in range(400):
            rows = store.draw(generator, (1,), size)
            assert len(set(rows.tolist())) == size
            hits[rows] += 1
        assert hits[:500].sum() == 0
        expected = 400 * size / 500
        assert abs(float(hits[500:].mean()) - expected) < 1e-4
        assert float((hits[500:] - expected).abs().max()) < 6 * expected**0.5
    assert torch.equal(store.draw(seeded(3), (0, 1), 9), store.draw(seeded(3), (1, 0), 9))
    assert not torch.equal(store.draw(seeded(3), None, 9), store.draw(seeded(4), None, 9))
    assert store.draw(seeded(), (1,), 5000).tolist() == list(range(500, 1000))


def test_relabelling_sorts_anew(store):
    other = store.relabelled((store.targets + 1) % 3)
    assert other.counts == (2, 3, 1)
    assert other.inputs.flatten().tolist() == [0, 4 * 51, 51, 3 * 51, 5 * 51, 2 * 51]
    assert other.order.tolist() == [0, 4, 1, 3, 5, 2]


def images(n=6, side=4, **kwargs):
    return np.zeros((n, side, side), np.uint8, **kwargs)


GOOD = (images(), np.array([0, 1, 2, 0, 1, 2]))


@pytest.mark.parametrize("shape", [(6, 4, 4), (6, 1, 4, 4), (6, 4, 4, 1)])
def test_every_usual_layout_of_images_is_taken(shape):
    x = np.arange(96, dtype=np.uint8).reshape(shape)
    data = RealData.of("made", (x, GOOD[1][:, None]), GOOD)
    assert data.card.shape == (1, 4, 4)
    assert data.train.inputs[data.train.order.argsort()].flatten().tolist() == list(range(96))


def test_colour_channels_last_are_moved():
    x = np.random.default_rng(0).integers(0, 255, (6, 4, 5, 3)).astype(np.uint8)
    data = RealData.of("made", (x, GOOD[1]), (x, GOOD[1]))
    assert data.card.shape == (3, 4, 5)
    assert np.array_equal(data.train.inputs[data.train.order.argsort()].numpy(), x.transpose(0, 3, 1, 2))


NAN = np.zeros((6, 4, 4), np.float32)
NAN[4, 2, 2] = np.nan


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ((NAN, GOOD[1]), "1 train images hold NaN or infinity, the first at 4"),
        ((images(), np.array([0, 1, 2, 0, 1, 3])), "class|outside|no item"),
        ((images(), np.array([0, 1, -1, 0, 1, 2])), "a train label is -1, outside 0 to 2"),
        ((images(), np.array([0, 1, 1, 0, 1, 1])), "class 2 of 3 has no item in train"),
        ((images(5), GOOD[1]), "5 images and 6 labels"),
        ((images(), np.array([0.5] * 6)), "labels are float64"),
        ((images(), np.zeros((6, 3), np.int64)), r"labels are int64 \(6, 3\)"),
        ((np.zeros((6, 16), np.uint8), GOOD[1]), r"shape \(6, 16\)"),
        ((np.zeros((0, 4, 4), np.uint8), np.zeros(0, np.int64)), r"shape \(0, 4, 4\)"),
        ((images().astype(np.int32), GOOD[1]), "int32. Save them as uint8"),
        ((images().astype(object), GOOD[1]), "array of objects"),
        ((images(side=5), GOOD[1]), "All splits must have images of one shape"),
    ],
)
def test_bad_data_have_their_sentence(train, sentence):
    with pytest.raises(BadData, match=sentence):
        RealData.of("made", train, GOOD, classes=3)


def test_a_validation_split_is_stratified_and_leaves_train(tiny):
    split = tiny.with_validation(0.25, seed=1)
    assert split.card.counts == split.train.counts == (15, 15, 15)
    assert split.validation.counts == (5, 5, 5)
    together = torch.cat([split.train.order, split.validation.order]).sort().values
    assert torch.equal(together, tiny.train.order.sort().values)
    assert torch.equal(split.validation.order, tiny.with_validation(0.25, seed=1).validation.order)
    assert not torch.equal(split.validation.order, tiny.with_validation(0.25, seed=2).validation.order)
    assert torch.equal(split.test.inputs, tiny.test.inputs)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 0.01, 0.99])
def test_a_validation_split_that_takes_all_or_nothing_is_refused(tiny, fraction):
    with pytest.raises(BadData, match="validation split of"):
        tiny.with_validation(fraction, seed=0)


# --- data sets by name -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refused(*_):
        raise AssertionError("the network was touched, unasked")

    monkeypatch.setattr(socket.socket, "connect", refused)


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
    np.savez(path, images=np.array([{"a": 1}] * 6, dtype=object), labels=GOOD[1])
    with pytest.raises(BadData, match="cannot be read as plain arrays"):
        ddcore.load(str(path))
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(BadData, match="cannot be read as plain arrays"):
        ddcore.load(str(path))
    with pytest.raises(BadData, match="There is no file"):
        ddcore.load(str(tmp_path / "nowhere.npz"))


def paint(path, colour, size=(10, 8)):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_of_images(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            paint(tmp_path / split / "blue" / f"{i}.png", (0, 0, 255))
            paint(tmp_path / split / "red" / f"{i}.png", (255, 0, 0), size=(12, 16))
    data = ddcore.load(str(tmp_path))
    assert data.card.class_names == ("blue", "red")
    assert data.card.shape == (3, 8, 8)
    assert data.card.counts == (3, 3)
    assert data.train.inputs[0, :, 4, 4].tolist() == [0, 0, 255]
    assert data.train.inputs[5, :, 4, 4].tolist() == [255, 0, 0]
    assert ddcore.load(str(tmp_path), size=4).card.shape == (3, 4, 4)
    (tmp_path / "train" / "red" / "notes.txt").write_text("hello")
    with pytest.raises(BadData, match="notes.txt is not an image that can be read"):
        ddcore.load(str(tmp_path))


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(BadData, match="has no folder train"):
        ddcore.load(str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(BadData, match="holds no folder"):
        ddcore.load(str(tmp_path))
    (tmp_path / "train" / "red").mkdir()
    with pytest.raises(BadData, match="red holds no image"):
        ddcore.load(str(tmp_path))


def test_unknown_names_and_fields():
    with pytest.raises(UnknownName, match="no data named 'minst'. Did you mean mnist"):
        ddcore.load("minst")
    with pytest.raises(RecipeRefused, match="no field of digits named 'root'"):
        ddcore.load("digits", root="here")


def test_a_real_run_on_colour_images_of_ones_own(shared, host, small):
    data = ddcore.load("npz", root=str(shared("CIFAR10-subset/cifar10_subset.npz")))
    assert data.card.counts == (1000,) * 10
    run = host.start(replace(small(host.recipe("dsa", iterations=1)), iterations=1), data)
    run.go()
    assert tuple(run.preprocess.mean.shape) == (3,), "fitted through the gate: the file declares no mean"
    assert float(run.preprocess.mean[0]) == pytest.approx(0.494, abs=2e-3)
