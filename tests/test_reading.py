"""Whatever the reader, the layout, the range or the kind of file: the right values, or a sentence."""

import itertools
import json
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import ddcore
from ddcore import BadData, RealData
from ddcore.cli import app
from ddcore.datasets import Npz
from ddcore.datasets.pictures import PIXELS

N = 12
LABELS = np.arange(N) % 3
PIXELS_OF = np.random.default_rng(0).integers(0, 256, (N, 3, 6, 5)).astype(np.uint8)
PIXELS_OF[0, 0, 0, :2] = 0, 255
TRUTH = torch.from_numpy(PIXELS_OF).float() / 255

SAVED = {
    "uint8": PIXELS_OF,
    "int16": PIXELS_OF.astype(np.int16),
    "int64": PIXELS_OF.astype(np.int64),
    "float bytes": PIXELS_OF.astype(np.float64),
    "unit": (PIXELS_OF / 255).astype(np.float32),
    "half unit": (PIXELS_OF / 255).astype(np.float16),
    "16 bits": PIXELS_OF.astype(np.uint16) * 257,
}
RANGE = {"unit": 1, "half unit": 1, "16 bits": 65535}
WHAT = ("images", "labels")
ARRANGED = {"nchw": lambda x: x, "nhwc": lambda x: x.transpose(0, 2, 3, 1)}


def items(store):
    """What networks take of ``store``, in the order in which it was handed over."""
    return store.take(store.order.argsort()).inputs


def through_python(tmp_path, splits, **fields):
    return RealData.of("made", splits.pop("train"), splits.pop("test"), **splits, **fields)


def through_tensors(tmp_path, splits, **fields):
    tensors = {split: (torch.from_numpy(x.astype(x.dtype)), torch.from_numpy(y)) for split, (x, y) in splits.items()}
    return through_python(tmp_path, tensors, **fields)


def through_npz(tmp_path, splits, **fields):
    names = {"train": "train", "test": "test", "validation": "val"}
    images, labels = ({f"{names[s]}_{what}": pair[i] for s, pair in splits.items()} for i, what in enumerate(WHAT))
    np.savez(tmp_path / "made.npz", **images, **labels)
    return Npz(str(tmp_path / "made.npz"), **fields).load()


READERS = [through_python, through_tensors, through_npz]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("layout", ARRANGED)
def test_any_saved_range_of_any_split_gives_the_same_values_or_a_sentence(reader, layout, tmp_path):
    for train, test in itertools.product(SAVED, repeat=2):
        x, other = (ARRANGED[layout](SAVED[saved]) for saved in (train, test))
        splits = {"train": (x, LABELS), "test": (other, LABELS), "validation": (other[:4], LABELS[:4])}
        if train != "uint8" != test and RANGE.get(train, 255) != RANGE.get(test, 255):
            with pytest.raises(BadData, match="the splits are in different ranges.*white=255"):
                reader(tmp_path, splits)
            continue
        data = reader(tmp_path, splits)
        for store in (data.train, data.test):
            assert torch.allclose(items(store), TRUTH, atol=1e-3), (train, test)
        assert torch.allclose(items(data.validation), TRUTH[:4], atol=1e-3)
        (note,) = data.notes
        assert "Images of 3x6x5: 12 to train on, 12 to test on, 4 to choose on; axes (n, " in note


def split_of(x):
    return x, np.arange(len(x)) % 2


STANDARD = np.random.default_rng(1).normal(size=(8, 6, 5))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("train", "test", "white", "divisor"),
    [
        (STANDARD, STANDARD, None, 1),
        (PIXELS_OF[:8, 0] > 127, PIXELS_OF[:8, 0] > 127, None, 1),
        ((PIXELS_OF[:8, 0] > 127).astype(np.uint8), (PIXELS_OF[:8, 0] > 127).astype(np.float32), None, 1),
        (PIXELS_OF[:8, 0], PIXELS_OF[:8, 0] // 5, None, 255),
        (PIXELS_OF[:8, 0].astype(float), PIXELS_OF[:8, 0] / 5, None, 255),
        (PIXELS_OF[:8, 0] * 0.95, PIXELS_OF[:8, 0] * 1.05 - 5, None, 255),
        (PIXELS_OF[:8, 0] // 16, PIXELS_OF[:8, 0] // 16, None, 255),
        (PIXELS_OF[:8, 0] // 16, PIXELS_OF[:8, 0] // 16, 15, 15),
        (PIXELS_OF[:8, 0] / 16, PIXELS_OF[:8, 0] / 16, 16, 16),
        (PIXELS_OF[:8, 0].astype(np.uint16) * 16, PIXELS_OF[:8, 0].astype(np.uint16) * 16, 4095, 4095),
        (STANDARD, abs(STANDARD), 1, 1),
        (PIXELS_OF[:8, 0].astype(float), np.zeros((8, 6, 5)), None, 255),
    ],
)
def test_one_white_for_all_splits_and_it_is_told(reader, train, test, white, divisor, tmp_path):
    data = reader(tmp_path, {"train": split_of(train), "test": split_of(test)}, **({"white": white} if white else {}))
    for store, saved in ((data.train, train), (data.test, test)):
        assert torch.allclose(items(store)[:, 0], torch.from_numpy(saved.astype(np.float32)) / divisor, atol=1e-6)
    assert ("used as they are" if divisor == 1 else f"divided by {divisor}") in data.notes[0]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (PIXELS_OF[:8, 0] / 16, PIXELS_OF[:8, 0] / 16, "train, test go from 0 to 15.9.*unclear.*white=255"),
        (PIXELS_OF[:8, 0].astype(np.uint16) * 16, PIXELS_OF[:8, 0], "train go from 0 to 4080.*unclear"),
        (STANDARD, PIXELS_OF[:8, 0] / 255, "different ranges"),
        (PIXELS_OF[:8, 0] / 255, STANDARD, "different ranges"),
        (STANDARD, PIXELS_OF[:8, 0], "different ranges"),
        (2 * PIXELS_OF[:8, 0].astype(float) / 255 - 1, PIXELS_OF[:8, 0].astype(float) - 128, "different ranges"),
        (PIXELS_OF[:8, 0], (PIXELS_OF[:8, 0] > 127).astype(np.uint8), "different ranges"),
        ((PIXELS_OF[:8, 0] > 127).astype(np.uint8), PIXELS_OF[:8, 0], "different ranges"),
    ],
)
def test_ranges_that_are_unclear_have_their_sentence(reader, train, test, sentence, tmp_path):
    with pytest.raises(BadData, match=sentence):
        reader(tmp_path, {"train": split_of(train), "test": split_of(test)})


@pytest.mark.parametrize("kind", ["vector", "signal"])
def test_numbers_that_are_no_images_are_used_as_they_are_and_never_in_two_ranges(kind):
    bytes_of = PIXELS_OF.reshape(N, -1)
    for x in (STANDARD.reshape(8, -1) * 1000, bytes_of.astype(np.int64), bytes_of / 16):
        data = RealData.of("made", split_of(x), split_of(x), kind=kind)
        assert torch.equal(items(data.test).flatten(1), torch.from_numpy(x.astype(np.float32)))
    for other in (bytes_of.astype(float), bytes_of / 255):
        data = RealData.of("made", split_of(bytes_of), split_of(other), kind=kind)
        assert torch.allclose(items(data.test).flatten(1), TRUTH.flatten(1), atol=1e-6)
    for one, two in (
        (bytes_of.astype(float), bytes_of / 255),
        (STANDARD * 32768, STANDARD),
        (bytes_of, bytes_of - 255.0),
    ):
        with pytest.raises(BadData, match="different ranges"):
            RealData.of("made", split_of(one.reshape(len(one), -1)), split_of(two.reshape(len(two), -1)), kind=kind)


# --- which axis is which


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("layout", "shape", "of"),
    [
        *(("nchw", (c, 8, 9), (c, 8, 9)) for c in (1, 2, 3, 4, 8, 13, 16)),
        *(("nhwc", (8, 9, c), (c, 8, 9)) for c in (1, 2, 3, 4, 9, 13, 16)),
        ("nchw", (3, 8, 3), (3, 8, 3)),
        ("nhwc", (3, 8, 3), (3, 3, 8)),
        ("nchw", (512, 1, 1), (512, 1, 1)),
        ("nhwc", (1, 1, 3), (3, 1, 1)),
        ("nct", (9, 5), (9, 5)),
        ("ntc", (9, 5), (5, 9)),
        ("ntc", (5, 9), (9, 5)),
    ],
)
def test_a_layout_that_is_said_is_followed_and_what_is_guessed_is_the_same(reader, layout, shape, of, tmp_path):
    x = np.random.default_rng(0).random((8, *shape)).astype(np.float32)
    splits = {"train": split_of(x), "test": split_of(x)}
    data = reader(tmp_path, dict(splits), layout=layout)
    assert data.card.shape == of
    expected = np.moveaxis(x, -1, 1) if layout in ("nhwc", "ntc") else x
    assert np.array_equal(items(data.train).numpy(), expected)
    if layout in ("nchw", "nhwc"):
        plain = min(of[1:]) >= 4 and of[0] in (1, 3)
        if plain:
            assert reader(tmp_path, dict(splits)).card.shape == of
        else:
            with pytest.raises(BadData, match=rf'either end may be the channels. Say which.*layout="{layout}"'):
                reader(tmp_path, dict(splits))


def test_signals_have_more_steps_than_channels_unless_it_is_said():
    x = STANDARD[:, :5, :].repeat(3, axis=1)
    with pytest.raises(BadData, match='layout="ntc" for signals of 5x15'):
        RealData.of("made", split_of(x), split_of(x), kind="signal")
    assert RealData.of("made", split_of(x), split_of(x), layout="ntc").card.shape == (5, 15)
    with pytest.raises(BadData, match="layout='nhwc' is of images, and these are signals"):
        RealData.of("made", split_of(x), split_of(x), kind="signal", layout="nhwc")


def test_splits_in_different_layouts_are_told_apart():
    data = RealData.of(
        "made", (PIXELS_OF, LABELS), (ARRANGED["nhwc"](PIXELS_OF), LABELS), validation=(PIXELS_OF, LABELS)
    )
    assert torch.equal(items(data.test), TRUTH)
    assert "axes (n, c, h, w) in train, (n, h, w, c) in test, (n, c, h, w) in validation" in data.notes[0]


# --- labels


@pytest.mark.parametrize("reader", [through_python, through_npz])
@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.array([0, 1] * 5 + [0, 10**9]), "train has the label 1000000000, but only 12 items"),
        (np.array([0, 1] * 5 + [0, 2**63 - 1]), "train has the label 9223372036854775807"),
        (np.array([0, 1] * 5 + [0, 2**64 - 1], np.uint64), "a train label is 18446744073709551615"),
        (np.array([0, 1] * 5 + [0, -(2**63)]), "a train label is -9223372036854775808"),
        (np.arange(1, 13), "train has the label 12, but only 12 items"),
    ],
)
def test_no_label_is_larger_than_there_are_items(reader, labels, sentence, tmp_path):
    with pytest.raises(BadData, match=sentence):
        reader(tmp_path, {"train": (PIXELS_OF, labels), "test": (PIXELS_OF, LABELS)})


def test_classes_are_no_more_than_items_and_have_names_of_their_own():
    pair = (PIXELS_OF, LABELS)
    with pytest.raises(BadData, match="train has 1000000000 classes, but only 12 items"):
        RealData.of("made", pair, pair, classes=10**9)
    with pytest.raises(BadData, match="two classes are named 'a'"):
        RealData.of("made", pair, pair, class_names="aba")
    assert RealData.of("made", (PIXELS_OF, LABELS > 0), (PIXELS_OF, LABELS > 0)).card.counts == (4, 8)
    large = np.where(LABELS == 1, 10**9, LABELS)
    with pytest.raises(BadData, match="a test label is 1000000000, outside 0 to 2"):
        RealData.of("made", pair, (PIXELS_OF, large))


# --- folders of images


STORED = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x.swapaxes(0, 1), 2),
    8: np.rot90,
}


def folder_of(root, image, name="0.png", **how):
    for split, c in itertools.product(("train", "test"), "ab"):
        path = root / split / c / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **how)
    return str(root)


def first(data):
    return data.train.inputs[0].movedim(0, 2).numpy()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("name", "how"), [("0.png", {}), ("0.tif", {}), ("0.webp", {"lossless": True})])
def test_images_are_turned_as_their_exif_says(orientation, name, how, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = ddcore.load(folder_of(tmp_path, Image.fromarray(STORED), name, exif=exif, **how))
    assert np.array_equal(first(data), TURNS[orientation](STORED))
    assert ("4 images turned as their EXIF orientation says." in data.notes) == (orientation != 1)


def test_a_photograph_with_previews_is_its_first_picture_and_others_with_several_are_refused(tmp_path):
    image, other = (Image.new("RGB", (20, 12), colour) for colour in ("maroon", "teal"))

    def several(name, **how):
        return folder_of(tmp_path / name, image.copy(), name, save_all=True, append_images=[other.copy()], **how)

    data = ddcore.load(several("0.jpg", format="MPO"))
    assert abs(first(data).astype(int) - (128, 0, 0)).max() < 4
    assert "4 images of which there are several in the file: the first is taken." in data.notes
    for name in ("0.gif", "0.png", "0.tif", "0.webp"):
        with pytest.raises(BadData, match=rf"0.{name[2:]} is not an image that can be read \(it holds several"):
            ddcore.load(several(name))


@pytest.mark.parametrize("channels", [None, 1])
def test_transparency_is_laid_on_white(channels, tmp_path):
    alpha = np.full((12, 20), 51, np.uint8)
    alpha[0] = 255
    grey, alpha = (Image.fromarray(x) for x in (np.full((12, 20), 100, np.uint8), alpha))
    for mode, layers in (("RGBA", [grey] * 3), ("LA", [grey])):
        data = ddcore.load(folder_of(tmp_path / mode, Image.merge(mode, [*layers, alpha])), channels=channels)
        found = first(data)[..., 0].astype(int)
        assert (found[0] == 100).all()
        assert (abs(found[1:] - (100 * 0.2 + 255 * 0.8)) <= 1).all()
        assert "4 images with transparency laid on white." in data.notes
    palette = Image.new("P", (20, 12))
    palette.putpalette([100, 100, 100])
    data = ddcore.load(folder_of(tmp_path / "p", palette, transparency=0), channels=channels)
    assert (first(data) == 255).all()
    assert "4 images with transparency laid on white." in data.notes


def test_other_colours_and_grey_ones_among_them_are_told(tmp_path):
    root = folder_of(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "0.tif")
    Image.new("L", (8, 8), 77).save(tmp_path / "train" / "a" / "1.png")
    data = ddcore.load(root)
    assert data.train.inputs[0, :, 0, 0].tolist() == [255, 0, 0]
    assert data.train.inputs[1, :, 0, 0].tolist() == [77] * 3
    assert "4 images converted to RGB from other colours, such as CMYK." in data.notes
    assert "1 grey images among coloured ones given three equal channels." in data.notes
    assert "4 coloured images turned grey." in ddcore.load(root, channels=1).notes


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, rows, depth=8, colour=2):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_per_channel_are_reduced_and_told(tmp_path):
    root = folder_of(tmp_path, Image.new("RGB", (4, 4), (9, 9, 9)))
    row = b"\0" + struct.pack(">12H", *[0x4321] * 12)
    (tmp_path / "train" / "a" / "1.png").write_bytes(png(4, 4, 4 * row, depth=16))
    data = ddcore.load(root)
    assert data.train.inputs[1, 0, 0, 0] in (0x42, 0x43)
    assert "1 images reduced from 16 bits per channel to 8." in data.notes


def test_a_whole_image_is_kept_and_what_a_size_cuts_off_is_told(tmp_path):
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, 48:] = 255
    root = folder_of(tmp_path, Image.fromarray(wide))
    assert np.array_equal(first(ddcore.load(root)), wide)
    data = ddcore.load(root, size=32)
    assert data.card.shape == (3, 32, 32)
    assert "4 images resized to 32x32." in data.notes
    assert "4 images cropped to their centre, which leaves out up to 50% of them." in data.notes


@pytest.mark.parametrize(
    "names", [("Train", "TEST", "Valid"), ("training", "testing", "val"), ("train", "test", "Validation")]
)
def test_folders_of_splits_are_known_by_their_usual_names(names, tmp_path):
    for i, name in enumerate(names):
        for c in "ab":
            path = tmp_path / name / c / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("L", (4, 4), 10 * i + 5).save(path)
    (tmp_path / "extra").mkdir()
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / names[0] / "a" / "._0.png").write_bytes(b"of a Mac")
    (tmp_path / names[0] / "b" / "Thumbs.db").write_bytes(b"of Windows")
    data = ddcore.load(str(tmp_path))
    assert [int(s.inputs[0, 0, 0, 0]) for s in (data.train, data.test, data.validation)] == [5, 15, 25]
    assert f"Not read, since they lie next to {names[0]}: README.txt, extra." in data.notes
    assert "3 hidden or system files passed over." in data.notes
    (tmp_path / names[1]).rename(tmp_path / "other")
    data = ddcore.load(str(tmp_path))
    assert (int(data.test.inputs[0, 0, 0, 0]), data.validation) == (25, None)
    assert f"The folder {names[2]} is tested on, since there is no folder test." in data.notes


def test_two_folders_of_one_split_and_broken_links_are_refused(tmp_path):
    root = folder_of(tmp_path, Image.fromarray(STORED))
    (tmp_path / "train" / "a" / "1.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(BadData, match="a/1.png is not a file"):
        ddcore.load(root)
    (tmp_path / "train" / "a" / "1.png").unlink()
    (tmp_path / "train" / "c").symlink_to(tmp_path / "train" / "b")
    with pytest.raises(BadData, match="differ in the class c"):
        ddcore.load(root)
    (tmp_path / "test" / "c").symlink_to(tmp_path / "test" / "b")
    assert ddcore.load(root).card.class_names == ("a", "b", "c")
    (tmp_path / "Training").mkdir()
    with pytest.raises(BadData, match="both hold the train split"):
        ddcore.load(root)


# --- hostile files


def eps(path):
    Image.fromarray(STORED).save(path, format="EPS")


def named_otherwise(path):
    Image.fromarray(STORED).save(path, format="ICO", sizes=[(8, 8)])


def bomb(path):
    path.write_bytes(png(30_000, 30_000, b"\0" * 1000))


def too_many_for_us(path):
    path.write_bytes(png(PIXELS // 1000 + 1, 1000, b"\0" * 1000))


@pytest.mark.parametrize("write", [eps, named_otherwise, bomb, too_many_for_us])
def test_hostile_images_are_refused_unopened_and_start_nothing(write, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *given, **_: started.append(given))
    root = folder_of(tmp_path, Image.fromarray(STORED))
    write(tmp_path / "train" / "a" / "photo.png")
    with pytest.raises(BadData, match=r"photo.png is not an image that can be read"):
        ddcore.load(root)
    assert not started


def npz_of(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, (shape, data) in entries.items():
            head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
            head = head.ljust(117) + "\n"
            file.writestr(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


LABELS_OF = ((12,), LABELS.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("shape", "data", "sentence"),
    [
        ("(12, 600, 10000)", bytes(12 * 600 * 10000), "unpacks from .* of which at most 67108864 are read"),
        ("(12, 4000000, 4000000)", b"1", "declares .*, and holds 1 bytes"),
        ("(12, -5, -5)", bytes(300), "declares|negative"),
        ("(12, 5, 5)", bytes(301), "declares .*, and holds 301 bytes"),
        ("(12, 5, 5)", bytes(299), "declares .*, and holds 299 bytes"),
    ],
)
def test_arrays_that_are_not_of_their_declared_size_are_refused(shape, data, sentence, tmp_path):
    npz_of(tmp_path / "a.npz", {"images.npy": (shape, data), "labels.npy": LABELS_OF})
    with pytest.raises(BadData, match=sentence):
        ddcore.load(str(tmp_path / "a.npz"))


def test_two_arrays_of_one_name_or_for_one_split_are_refused(tmp_path):
    images = ((12, 5, 5), bytes(300))
    npz_of(tmp_path / "a.npz", {"images.npy": images, "images": images, "labels.npy": LABELS_OF})
    with pytest.raises(BadData, match="it holds images twice"):
        ddcore.load(str(tmp_path / "a.npz"))
    npz_of(tmp_path / "a.npz", {"images.npy": images, "x.npy": images, "labels.npy": LABELS_OF, "y.npy": LABELS_OF})
    with pytest.raises(BadData, match="holds images and x, which mean the same split"):
        ddcore.load(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", images=np.zeros((30, 5, 5), np.uint8), labels=np.arange(30) % 3, extra=1)
    assert "Not read: extra." in ddcore.load(str(tmp_path / "a.npz")).notes
    assert ddcore.load(str(tmp_path / "a.npz"), memory=5000).card.counts == (9, 9, 9)
    with pytest.raises(BadData, match="at most 100 are read"):
        ddcore.load(str(tmp_path / "a.npz"), memory=100)


HOSTILE = """
import resource, sys
from pathlib import Path
import ddcore
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, refused = peak(), 0
for path in sys.argv[1:]:
    try:
        ddcore.load("mnist", root=path) if Path(path, "MNIST").is_dir() else ddcore.load(path)
    except ddcore.BadData:
        refused += 1
print(refused, peak() - before)
"""


def test_no_hostile_file_takes_a_gigabyte(tmp_path):
    """A label of a billion, a packed array and a packed IDX file of 2 GB, an image of a billion pixels."""
    np.savez(tmp_path / "label.npz", images=PIXELS_OF, labels=np.array([0, 1] * 5 + [0, 10**9]))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2000, 1000, 1000), }".ljust(117) + "\n"
        file.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(2**20))
        file.writestr("labels.npy", b"")
        file.getinfo("images.npy").file_size = 2 * 10**9 + 128
    raw = tmp_path / "idx" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    start = packer.compress(struct.pack(">4sIII", b"\0\0\x08\x03", 2000, 1000, 1000)) + packer.flush(zlib.Z_FULL_FLUSH)
    million = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = b"\x1f\x8b\x08" + bytes(7) + start + 2000 * million + packer.flush() + bytes(8)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(packed)
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    bomb(tmp_path / "pictures" / "a" / "0.png")
    paths = [str(tmp_path / name) for name in ("label.npz", "bomb.npz", "idx", "pictures")]
    told = subprocess.run([sys.executable, "-c", HOSTILE, *paths], capture_output=True, text=True, check=True).stdout
    refused, mib = map(int, told.split())
    assert refused == len(paths)
    assert mib < 1024


# --- what the user is told


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_what_was_read_reaches_the_screen_the_metrics_and_the_report(tmp_path):
    bands = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 4)).astype(np.uint8)
    path = tmp_path / "bands[4].npz"
    np.savez(path, images=bands, labels=np.arange(30) % 3, extra=1)
    refused = call("list", "data", path)
    assert refused.exit_code == 2
    assert "--set experiment.data.layout=nhwc" in refused.stderr
    told = "Images of 4x8x8: 27 to train on, 3 to test on (set aside from those to train on); axes (n, h, w, c); values"
    small = ["--iterations", 1, "--repeats", 1, "--baselines", "none", "--networks", "mlp", "--set", "network.width=4"]
    words = ["--data", path, "--set", "experiment.data.layout=nhwc", "--set", "network.depth=2", *small]
    done = call("distill", "dm", *words, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    for text in (done.stdout, (tmp_path / "run" / "report.md").read_text()):
        assert told in text
        assert "Not read: extra." in text
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["notes"][0].startswith(told)
    public = ["--set", f"preprocess.mean={[0.5] * 4}", "--set", f"preprocess.std={[0.3] * 4}"]
    private = call("distill", "psg", *words, *public, "--out", tmp_path / "private")
    assert private.exit_code == 0, private.output
    assert "Images of" not in private.stdout + (tmp_path / "private" / "report.md").read_text(), "it is not noised"


def test_how_a_file_or_folder_is_read_can_be_listed(tmp_path):
    root = folder_of(tmp_path / "own", Image.fromarray(STORED))
    assert "Images of 3x12x20: 2 to train on, 2 to test on; axes" in call("list", "data", root).stdout
    (note,) = json.loads(call("list", "data", root, "--json").stdout)["notes"]
    assert note.startswith("Images of 3x12x20")
    assert "scikit-learn" in call("list", "data", "digits").stdout
