"""Damaged and odd data: a sentence, or what was saved. ``-m long`` tries 30,000 cases and leaves their count."""

import gzip
import io
import resource
import struct
import subprocess
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from ddcore import BadData, RealData
from ddcore.datasets import ImageFolder, Mnist, Npz

CASES = pytest.mark.parametrize("share", [1, pytest.param(43, marks=pytest.mark.long)])
EACH = 175
"""Cases of each of the four kinds in the default run."""
SETTINGS = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "report_multiple_bugs": False,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(autouse=True)
def one_process_and_a_gigabyte(monkeypatch):
    started = []
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *given, **_: started.append(given))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert not started
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


@pytest.fixture
def tried(recorded):
    """Tries cases of a strategy, of which some must be accepted and some refused, and records how many were."""

    def run(strategy, check, share):
        outcomes, sentences = Counter(), set()

        @settings(max_examples=EACH * share, **SETTINGS)
        @given(strategy)
        def each(case):
            try:
                check(case)
            except BadData as error:
                outcomes["refused"] += 1
                sentences.add(str(error))
            else:
                outcomes["accepted"] += 1

        each()
        assert all(sentence.endswith(".") for sentence in sentences)
        assert outcomes.total() >= EACH * share
        assert min(outcomes["refused"], outcomes["accepted"]) > EACH * share // 50, outcomes
        recorded({"cases": outcomes.total(), **outcomes})

    return run


def taken(store):
    """Items and targets of ``store``, in the order in which they were handed over."""
    batch = store.take(store.order.argsort())
    return batch.inputs, batch.targets


# --- arrays

DTYPES = ("u1", "i1", "u2", ">i4", "i8", "f2", ">f4", "f8", "?", "c8", "O", "U1", "M8[s]")
RANGES = ((0, 1), (0, 2), (0, 255), (0, 65535), (-1, 1), (-2, 3), (-128, 127), (0, 16), (0, 1e30), (0, 1e300))
arrays = st.fixed_dictionaries(
    {
        "items": st.lists(st.sampled_from([1, 1, 2, 3, 3, 4, 5, 8]), max_size=4),
        "dtype": st.sampled_from([*DTYPES[:9], *DTYPES]),
        "ends": st.sampled_from(RANGES),
        "test": st.sampled_from(["same", "same", "same", "f8", "u1", "unit", "fewer axes", "more"]),
        "spoilt": st.sampled_from([None] * 20 + [np.nan, np.inf, 1e39]),
        "labels": st.sampled_from([None] * 20 + [-1, 7, 10**9, 2**63, 0.5, np.nan, "a"]),
        "label dtype": st.sampled_from(["i8", "u1", ">i2", "u8", "?", "f4"]),
        "kind": st.sampled_from([None] * 6 + ["image", "vector", "signal", "own"]),
        "layout": st.sampled_from([None] * 8 + ["nchw", "nhwc", "nct", "ntc"]),
        "white": st.sampled_from([None] * 8 + [1, 16, 255, 0, -1, float("nan")]),
        "tensor": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


def made_of(case):
    rng, (low, high) = np.random.default_rng(case["seed"]), case["ends"]
    n = 8
    values = rng.random((n, *case["items"])) * (high - low) + low
    values = values.round() if np.dtype(case["dtype"]).kind in "iu" else values
    if case["spoilt"] is not None and values.size:
        values.flat[0] = case["spoilt"]
    with np.errstate(all="ignore"):
        train = values.astype(case["dtype"])
    labels = np.arange(n) % 2
    labels = labels.astype(case["label dtype"])
    if case["labels"] is not None:
        labels = np.array([*labels.tolist()[:-1], case["labels"]])
    other = {
        "same": lambda: train,
        "f8": lambda: train.astype("f8"),
        "u1": lambda: train.astype("u1"),
        "unit": lambda: train.astype("f8") / (high or 1),
        "fewer axes": lambda: train[:, 0] if train.ndim > 1 and train.shape[1] else train,
        "more": lambda: np.repeat(train, 2, -1),
    }[case["test"]]
    return train, other, labels


def arranged(x, shape):
    """The ways in which an array can be of ``shape``, channels first."""
    yield from (y for y in (x, np.moveaxis(x, -1, 1), x[:, None]) if y.shape[1:] == shape)


def check_arrays(case):
    train, other, labels = made_of(case)
    try:
        with np.errstate(all="ignore"):
            test = other()
    except (TypeError, ValueError, OverflowError, RuntimeWarning):
        test = train
    splits = [(train, labels), (test, labels)]
    if case["tensor"] and train.dtype.isnative and train.dtype.kind in "biufc" and test.dtype.isnative:
        splits = [(torch.from_numpy(np.ascontiguousarray(x)), y) for x, y in splits]
    with np.errstate(all="ignore"):
        data = RealData.of("made", *splits, kind=case["kind"], layout=case["layout"], white=case["white"])
    note = data.notes[0]
    for store, x in ((data.train, train), (data.test, test)):
        found, targets = taken(store)
        whites = [1.0, *(float(w) for w in (255, 65535, case["white"] or 1) if f"divided by {w:g}" in note)]
        saved = [y.astype(np.float32) / np.float32(w) for y in arranged(x, data.card.shape) for w in whites]
        assert any(np.allclose(found.numpy(), y, rtol=1e-5, atol=1e-7) for y in saved), note
        assert np.allclose(targets.numpy().astype(float).reshape(8, -1), labels.astype(float).reshape(8, -1))
        assert torch.isfinite(found).all()


@CASES
def test_arrays_are_understood_or_refused(share, tried):
    tried(arrays, check_arrays, share)


# --- damaged bytes

damage = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "byte", "cut", "drop", "insert", "repeat", "count"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    max_size=3,
)


def damaged(data, changes):
    data = bytearray(data)
    for what, where, value in changes:
        at = int(where * len(data))
        if what == "flip" and data:
            data[at] ^= 1 << value % 8
        elif what == "byte" and data:
            data[at] = value
        elif what == "cut":
            del data[at:]
        elif what == "drop":
            del data[at : at + value]
        elif what == "insert":
            data[at:at] = bytes([value]) * (value % 9 + 1)
        elif what == "repeat":
            data[at:at] = data[at : at + value]
        elif what == "count" and at % 4 == 0:
            data[at : at + 4] = struct.pack(">i", [-1, 2**31 - 1, 0, 2**30][value % 4])
    return bytes(data)


X = np.random.default_rng(0).integers(0, 256, (8, 5, 5)).astype(np.uint8)
Y = (np.arange(8) % 2).astype(np.uint8)


def npz_bytes(compressed):
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, train_images=X, train_labels=Y, test_images=X[::-1], test_labels=Y, class_names=np.array(["a", "b"]))
    return file.getvalue()


NPZ = {compressed: npz_bytes(compressed) for compressed in (False, True)}


def check_npz(case, path):
    compressed, inside, changes = case
    data = NPZ[compressed]
    if inside is not None:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w") as new:
            for i, entry in enumerate(old.namelist()):
                held = old.read(entry)
                new.writestr(entry, damaged(held, changes) if i == inside else held)
    else:
        path.write_bytes(damaged(data, changes))
    loaded = Npz(str(path)).load()
    if inside is not None:
        with np.load(path) as file:
            expected = {"train": file["train_images"], "test": file["test_images"]}
            labels = {"train": file["train_labels"], "test": file["test_labels"]}
            named = file["class_names"].tolist()
    else:
        expected, labels, named = {"train": X, "test": X[::-1]}, {"train": Y, "test": Y}, ["a", "b"]
    for split, store in (("train", loaded.train), ("test", loaded.test)):
        found, targets = taken(store)
        wanted = expected[split].astype(np.float32).reshape(found.shape)
        assert np.allclose(found.numpy(), wanted / 255, atol=1e-6) or "used as they are" in loaded.notes[0]
        assert targets.tolist() == labels[split].flatten().tolist()
    assert list(loaded.card.class_names) == [str(n) for n in named] or "Not read" in loaded.notes[-1]


@CASES
def test_npz_files_are_read_right_or_refused(share, tried, tmp_path):
    cases = st.tuples(st.booleans(), st.sampled_from([None, None, 0, 1, 2, 3, 4]), damage)
    tried(cases, lambda case: check_npz(case, tmp_path / "made.npz"), share)


def idx(x):
    return struct.pack(f">4s{x.ndim}I", bytes((0, 0, 8, x.ndim)), *x.shape) + x.tobytes()


def check_idx(case, raw):
    which, packed, changes = case
    files = {"train-images-idx3": X, "train-labels-idx1": Y, "t10k-images-idx3": X[::-1], "t10k-labels-idx1": Y}
    held = {}
    for old in raw.iterdir():
        old.unlink()
    for i, (name, array) in enumerate(files.items()):
        data = gzip.compress(idx(array), mtime=0) if packed else idx(array)
        data = damaged(data, changes) if i == which else data
        (raw / f"{name}-ubyte{'.gz' if packed else ''}").write_bytes(data)
        held[name] = idx(array) if packed else data
    loaded = Mnist(str(raw.parents[1])).load()
    for part, store in (("train", loaded.train), ("t10k", loaded.test)):
        found, targets = taken(store)
        pixels = np.frombuffer(held[f"{part}-images-idx3"][16:], np.uint8).reshape(found.shape)
        assert np.allclose(found.numpy(), pixels / 255, atol=1e-6) or "used as they are" in loaded.notes[0]
        assert targets.tolist() == list(held[f"{part}-labels-idx1"][8:])


@CASES
def test_idx_files_are_read_right_or_refused(share, tried, tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    monkeypatch.setattr("ddcore.datasets.torchvision.Mnist.names", ())
    cases = st.tuples(st.sampled_from([0, 0, 1, 2, 3]), st.booleans(), damage)
    tried(cases, lambda case: check_idx(case, raw), share)


COLOURED = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
KINDS = ("PNG", "PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "EPS", "ICO", "TGA")


def picture(kind, mode):
    file = io.BytesIO()
    image = Image.fromarray(COLOURED).convert(mode)
    if kind in ("JPEG", "PPM", "EPS", "BMP") and mode in ("RGBA", "P"):
        image = image.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(file, format=kind, **({"exif": exif} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}))
    return file.getvalue()


def check_picture(case, root):
    kind, mode, changes, size = case
    path = root / "train" / "a" / "0.png"
    path.write_bytes(damaged(picture(kind, mode), changes))
    data = ImageFolder(str(root), size=size).load()
    assert kind in ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP") or changes
    found = data.train.inputs[0]
    assert found.dtype == torch.uint8
    if size is None and kind == "PNG" and mode != "P":
        wanted = np.array(Image.fromarray(COLOURED).convert(mode).convert("RGB"))
        turned = "1 images turned as their EXIF orientation says." in data.notes
        assert turned or changes
        assert np.array_equal(found.movedim(0, 2).numpy(), np.rot90(wanted, 2) if turned else wanted)


@CASES
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")
def test_pictures_are_read_right_or_refused(share, tried, tmp_path):
    for split in ("train", "test"):
        for c in "ab":
            (tmp_path / split / c).mkdir(parents=True)
            Image.fromarray(COLOURED).save(tmp_path / split / c / "0.png")
    modes = st.sampled_from(["RGB", "RGB", "L", "P", "RGBA"])
    cases = st.tuples(st.sampled_from(KINDS), modes, damage, st.sampled_from([None, None, 4]))
    tried(cases, lambda case: check_picture(case, tmp_path), share)
