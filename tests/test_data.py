"""Real data: the store, its draws, and the checks."""

import numpy as np
import pytest
import torch

from ddcore import BadData, RealData, Store


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


def test_offsets_bound_the_classes_even_an_empty_one():
    store = Store.of(torch.zeros(4, 1, 1, 1), torch.tensor([3, 0, 3, 1]), 4)
    assert store.offsets.tolist() == [0, 1, 2, 2, 4]
    assert store.counts == (1, 1, 0, 2)


@pytest.mark.parametrize("size", [2, 4])
def test_every_ordered_draw_is_as_likely_as_another(size):
    """2 of 9 are drawn by rejection, 4 of 9 by a permutation: the first two of either are one of 72 pairs."""
    store = Store.of(torch.zeros(15, 1, 1, 1), torch.tensor([0] * 4 + [1] * 6 + [3] * 5), 4)
    generator, seen = seeded(), torch.zeros(15, 15)
    for _ in range(7200):
        one, two = store.draw(generator, (0, 2, 3), size)[:2].tolist()
        seen[one, two] += 1
    rows = torch.tensor([0, 1, 2, 3, 10, 11, 12, 13, 14])
    pairs = seen[rows][:, rows]
    assert pairs.sum() == 7200, "no row of another class"
    assert pairs.diagonal().sum() == 0
    chi = float(((pairs - 100) ** 2 / 100).sum() - 9 * 100)
    assert 30 < chi < 130, "71 degrees of freedom"


def test_draws_at_the_edges(store):
    assert store.draw(seeded(), (2, 0)).tolist() == [0, 1, 2, 4, 5]
    assert store.draw(seeded(), (2, 2)).tolist() == [4, 5], "a class named twice is one class"
    for nothing in (store.draw(seeded(), None, 0), store.draw(seeded(), ()), store.draw(seeded(), (), 3)):
        assert len(store.take(nothing)) == 0


def test_a_subset_and_the_chunks_keep_the_order(store):
    part = store.subset(torch.tensor([5, 0, 3]))
    assert part.targets.tolist() == [0, 1, 2]
    assert part.order.tolist() == [1, 2, 4]
    batches = list(store.chunks(4))
    assert [len(batch) for batch in batches] == [4, 2]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), store.inputs.float() / 255)
    assert torch.cat([batch.index for batch in batches]).tolist() == store.order.tolist()


def test_floats_are_used_as_they_are():
    values = torch.tensor([-3.0, 7.5]).view(2, 1, 1, 1)
    assert torch.equal(Store.of(values, torch.tensor([0, 1]), 2).take(torch.tensor([0, 1])).inputs, values)


def test_relabelling_sorts_anew(store):
    other = store.relabelled((store.targets + 1) % 3)
    assert other.counts == (2, 3, 1)
    assert other.inputs.flatten().tolist() == [0, 4 * 51, 51, 3 * 51, 5 * 51, 2 * 51]
    assert other.order.tolist() == [0, 4, 1, 3, 5, 2]


def images(n=6, side=4, **kwargs):
    return np.zeros((n, side, side), np.uint8, **kwargs)


GOOD = (images(), np.array([0, 1, 2, 0, 1, 2]))


@pytest.mark.parametrize(("kind", "shape"), [("image", (9, 1, 6, 6)), ("vector", (9, 5)), ("signal", (9, 2, 7))])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_range_is_known_of_bytes_alone(kind, shape, dtype):
    items = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    items.flat[0] = 255 if dtype is np.uint8 else 254.5  # whole numbers up to 255 are read as bytes
    data = RealData.of("made", (items, np.arange(9) % 3), (items, np.arange(9) % 3), kind=kind)
    assert data.card.unit_range == (dtype is np.uint8)
    if data.card.unit_range:
        taken = data.train.take(torch.arange(9)).inputs
        assert 0 <= float(taken.min()) <= float(taken.max()) == 1
    assert data.subset(torch.arange(6)).card.unit_range == data.card.unit_range


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


@pytest.mark.parametrize("kind", [">f4", "<f8", "f2"])
def test_floats_of_any_width_and_byte_order_are_taken(kind):
    x = np.arange(96).reshape(6, 4, 4) / 128
    data = RealData.of("made", (x.astype(kind), GOOD[1].astype(">i8")), GOOD)
    assert data.train.inputs.dtype == torch.float32
    assert np.array_equal(data.train.inputs[data.train.order.argsort()][:, 0].numpy(), x)


def test_arrays_that_may_not_be_written_are_taken():
    x, y = images(), GOOD[1].copy()
    x.flags.writeable = y.flags.writeable = False
    assert RealData.of("made", (x, y), (x, y)).card.counts == (2, 2, 2)


NAN = np.zeros((6, 4, 4), np.float32)
NAN[4, 2, 2] = np.nan


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ((NAN, GOOD[1]), "train images hold NaN or infinity in 1 of 6 items, the first at 4"),
        ((images(), np.array([0, 1, 2, 0, 1, 3])), "class|outside|no item"),
        ((images(), np.array([0, 1, -1, 0, 1, 2])), "a train label is -1, outside 0 to 2"),
        ((images(), np.array([0, 1, 1, 0, 1, 1])), "class 2 of 3 has no item in train"),
        ((images(5), GOOD[1]), "5 images and 6 labels"),
        ((images(), np.array([0.5] * 6)), "labels of test are classes, those of train 1 values per item"),
        ((images(), np.array([0.5, np.nan, 1, 1, 1, 1])), "values hold NaN"),
        ((images(), np.array(["a"] * 6)), "labels are <U1"),
        ((images(), np.zeros((6, 3), np.int64)), r"labels are int64 \(6, 3\)"),
        ((np.zeros((6, 16), np.uint8), GOOD[1]), r"test vectors have the shape \(6, 4, 4\)"),
        ((np.zeros(6, np.uint8), GOOD[1]), r"train images have the shape \(6,\)"),
        ((np.zeros((0, 4, 4), np.uint8), np.zeros(0, np.int64)), r"shape \(0, 4, 4\)"),
        ((images().astype(object), GOOD[1]), "images are object. Save them as uint8"),
        ((images().astype("U1"), GOOD[1]), "<U1. Save them as uint8"),
        ((torch.zeros(6, 4, 4, dtype=torch.complex64), GOOD[1]), "complex64. Save them as uint8"),
        ((torch.zeros(6, 4, 4).to_sparse(), GOOD[1]), "the items of train are a tensor that is not dense"),
        ((np.ma.masked_less(np.arange(96.0).reshape(6, 4, 4), 5), GOOD[1]), "masked entries"),
        (([[[1, 2]], [[1]]], GOOD[1]), "not one array"),
        ((np.full((6, 4, 4), 1e300), GOOD[1]), "train images hold NaN or infinity in 6 of 6 items"),
        ((images(side=5), GOOD[1]), "All splits must have images of one shape"),
    ],
)
def test_bad_data_have_their_sentence(train, sentence):
    with pytest.raises(BadData, match=sentence):
        RealData.of("made", train, GOOD, classes=3)


@pytest.mark.parametrize("test", [(images(), np.array([0, 1, 2, 0, 1, 3])), (images(2), np.array([0, -1]))])
def test_the_test_split_is_checked_too(test):
    with pytest.raises(BadData, match=r"a test label is (3|-1), outside 0 to 2"):
        RealData.of("made", GOOD, test)


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_class_names_must_be_as_many_as_classes(names):
    with pytest.raises(BadData, match=f"{len(names)} class names for 3 classes"):
        RealData.of("made", GOOD, GOOD, class_names=names)


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
