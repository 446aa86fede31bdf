"""Sets for others and sets of others: every format there and back, foreign layouts, and what is refused."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import ddcore
from ddcore import BadArtefact, BadData, DdcoreError, DistilledSet, Host, RealData, RecipeRefused
from ddcore import plugin as dd
from ddcore.cli import app
from ddcore.tensors import LabelledTensors

FORMATS = ["tensors", "pictures", "parquet"]
PATHS = {"tensors": "set", "pictures": "set", "parquet": "set.parquet"}


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def distilled(tiny):
    """Six items of three classes, between 0 and 1 but for one pixel each way."""
    found = ddcore.distill(ddcore.recipe("random", ipc=2), tiny, seed=0)
    inputs = found.inputs.clone()
    inputs[0, 0, 0, 0], inputs[1, 0, 0, 0] = -5.0, 5.0
    return replace(found, tensors=replace(found.tensors, inputs=inputs))


def shared(distilled, targets=None, **changes):
    """``distilled`` with shares of the classes for labels."""
    if targets is None:
        targets = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]).repeat(3, 1).roll(1, 1)
    return replace(distilled, tensors=replace(distilled.tensors, targets=targets, **changes), nbytes=9999)


def there_and_back(distilled, data, path, format, **fields):
    ddcore.export(distilled, path, format)
    return ddcore.read_released(path, data, **fields)


@pytest.mark.parametrize("path", ["set", "set.pt"])
def test_tensors_come_back_exactly(path, distilled, tiny, tmp_path):
    sized = replace(distilled, tensors=replace(distilled.tensors, step_sizes=torch.tensor([0.02])))
    again = there_and_back(sized, tiny, tmp_path / path, "tensors")
    for name in ("inputs", "targets", "step_sizes"):
        assert torch.equal(getattr(again, name), getattr(sized, name))
    assert again.preprocess == "standardise" and again.preprocess_state.keys() == {"mean", "std"}
    assert again.nbytes == 6 * (64 * 4 + 1) + 4
    assert again.data == tiny.card and again.method == "released" and again.facts["released"]


@pytest.mark.parametrize("format", ["pictures", "parquet"])
def test_pictures_come_back_to_eight_bits(format, distilled, tiny, tmp_path):
    again = there_and_back(distilled, tiny, tmp_path / PATHS[format], format)
    assert (again.images() - distilled.images()).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(again.targets, distilled.targets)
    assert again.nbytes == 6 * (64 + 1)


@pytest.mark.parametrize("format", FORMATS)
def test_shares_come_back(format, distilled, tiny, tmp_path):
    soft = shared(distilled)
    again = there_and_back(soft, tiny, tmp_path / PATHS[format], format)
    order = soft.targets.argmax(1).argsort(stable=True) if format == "pictures" else torch.arange(6)
    assert again.loss == "cross_entropy"
    assert torch.allclose(again.targets, soft.targets[order], atol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_vectors_come_back_where_they_are_said_to_be_such(format, distilled, tiny, tmp_path):
    vectors = shared(distilled, torch.linspace(-1, 1, 18).view(6, 3), loss="squared")
    with pytest.raises(BadArtefact, match="--scores logits, or vectors"):
        there_and_back(vectors, tiny, tmp_path / PATHS[format], format)
    again = ddcore.read_released(tmp_path / PATHS[format], tiny, scores="vectors")
    assert again.loss == "squared" and torch.allclose(again.targets.sort(0).values, vectors.targets.sort(0).values)


def test_colours_and_names_come_back(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.randint(0, 256, (12, 3, 8, 9), dtype=torch.uint8), torch.arange(12) % 3
    for names in (("ox", "bee", "t-shirt"), ("a/b", "[/red]", "..")):
        data = RealData.of("coloured", (images, labels), (images, labels), class_names=names)
        found = ddcore.distill(ddcore.recipe("random", ipc=1), data)
        for format in ("pictures", "parquet"):
            again = there_and_back(found, data, tmp_path / names[0][0] / PATHS[format], f"{format}()")
            assert torch.equal((again.images() * 255).round(), (found.images() * 255).round())
            assert torch.equal(again.targets, found.targets)
        assert not (tmp_path / "red]").exists()
    assert {p.name for p in (tmp_path / "o" / "set").iterdir()} == {"ox", "bee", "t-shirt", "README.md"}
    assert {p.name for p in (tmp_path / "a" / "set").iterdir()} == {"0", "1", "2", "README.md"}


def test_parquet_has_what_datasets_reads(distilled, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    ddcore.export(shared(distilled), tmp_path / "set.parquet", "parquet")
    schema = parquet.read_schema(tmp_path / "set.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": ["0", "1", "2"], "_type": "ClassLabel"}
    assert [str(schema.field(name).type) for name in ("image", "label")] == [
        "struct<bytes: binary, path: string>",
        "int64",
    ]
    row = parquet.read_table(tmp_path / "set.parquet").to_pylist()[0]
    assert Image.open(io.BytesIO(row["image"]["bytes"])).size == (8, 8)


def test_without_pyarrow_it_says_what_to_install(distilled, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(RecipeRefused, match=r"pip install 'ddcore\[parquet\]'"):
        ddcore.export(distilled, tmp_path / "set.parquet", "parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_left_out_and_every_warning_are_said_and_written(format, distilled, tmp_path):
    held = replace(
        distilled,
        tensors=replace(distilled.tensors, step_sizes=torch.tensor([0.1, 0.2]), order=torch.tensor([[0, 1], [2, 3]])),
        latent={"codes": torch.zeros(3)},
        teaching={"params.w": torch.zeros(2)},
        nbytes=9999,
        facts={"warnings": ["It is poisoned: trigger patch."]},
    )
    path = held.save(tmp_path / "held.safetensors")
    done = call("export", path, tmp_path / PATHS[format], "--format", format)
    assert done.exit_code == 0, done.output
    (notes,) = [p for p in (tmp_path / f"{PATHS[format]}.md", tmp_path / PATHS[format] / "README.md") if p.exists()]
    wanted = [
        "(codes) is left out",
        "What it teaches",
        "The order of its 2 training steps",
        "It is poisoned: trigger patch.",
    ]
    wanted += [] if format == "tensors" else ["Its step sizes (2)", "% of the pixels lie outside of [0, 1]"]
    for said in wanted:
        assert said in done.stdout.replace("\n", " ") and said in notes.read_text()
    assert done.stdout.count("Warning: ") >= 4 and notes.read_text().count("**Warning:**") >= 4


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_written_over(format, distilled, tmp_path):
    out = tmp_path / PATHS[format]
    ddcore.export(distilled, out, format)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(RecipeRefused, match="is there already"):
        ddcore.export(distilled, out, format)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_vectors_are_no_pictures(tmp_path):
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 2
    data = RealData.of("rows", pair, pair)
    found = ddcore.distill(ddcore.recipe("random", ipc=1, data=data), data)
    for format in ("pictures", "parquet"):
        with pytest.raises(BadArtefact, match="rows are vectors of .*: pictures are grey or RGB.*--format tensors"):
            ddcore.export(found, tmp_path / format, format)
    again = there_and_back(found, data, tmp_path / "set", "tensors", preprocess="standardise")
    assert torch.equal(again.inputs, found.inputs)
    assert list(tmp_path.iterdir()) == [tmp_path / "set"]


def test_values_to_predict_come_back(tmp_path):
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(30, 2)).astype(np.float32)
    data = RealData.of("rows", pair, pair)
    found = ddcore.distill(ddcore.recipe("random", ipc=2, data=data), data)
    again = there_and_back(found, data, tmp_path / "set", "tensors", preprocess="standardise")
    assert torch.equal(again.targets, found.targets) and again.loss == "squared"


def cifar(name="cifar10", classes=10, ipc=2, soft=False):
    """A made set for data of that name."""
    card = dd.DataCard(name, (3, 32, 32), classes, (9,) * classes)
    targets = torch.arange(classes).repeat_interleave(ipc)
    targets = torch.eye(classes)[targets] if soft else targets
    state = {"mean": torch.tensor([0.4914, 0.4822, 0.4465]), "std": torch.tensor([0.2023, 0.1994, 0.2010])}
    inputs = torch.randn(classes * ipc, 3, 32, 32)
    recipe = ddcore.recipe("dm").to_toml()
    return DistilledSet(LabelledTensors(inputs, targets), card, "dm", recipe, 10**6, "standardise", state)


@pytest.mark.parametrize("soft", [False, True])
def test_dd_ranking_gets_its_config(soft, tmp_path):
    yaml = pytest.importorskip("yaml")
    said = ddcore.export(cifar(soft=soft), tmp_path / "set").said
    config = yaml.safe_load((tmp_path / "set" / "config.yaml").read_text())
    assert (config["dataset"], config["ipc"], config["im_size"], config["model_name"]) == (
        "CIFAR10",
        2,
        [32, 32],
        "ConvNet-3",
    )
    assert config["use_zca"] is False and config["weight_decay"] == 0.0005
    assert config.get("soft_label_criterion") == ("sce" if soft else None)
    assert said == (
        ("The labels are logits: their softmax is the share of each class (DD-Ranking's sce).",) if soft else ()
    )
    labels = torch.load(tmp_path / "set" / "labels.pt", weights_only=True)
    assert (
        labels.softmax(1).argmax(1).tolist() == [c for c in range(10) for _ in range(2)]
        if soft
        else labels.dtype == torch.int64
    )


def test_what_does_not_suit_dd_ranking_is_said(distilled, tmp_path):
    other = replace(cifar(), preprocess_state={"mean": torch.zeros(3), "std": torch.ones(3)})
    other = replace(other, tensors=replace(other.tensors, targets=other.targets.roll(1)))
    said = " ".join(ddcore.export(other, tmp_path / "other").said)
    assert "this set lies otherwise" in said and "to the mean (0.4914, 0.4822, 0.4465)" in said
    ddcore.export(distilled, tmp_path / "tiny")
    assert not (tmp_path / "tiny" / "config.yaml").exists()


def foreign(kind, folder, images, labels):
    """Files of ``images`` and ``labels`` as others lay them; what to import, and how."""
    scores = torch.eye(3)[labels] * 4
    match kind:
        case "mtt":
            for stem in ("best", "5000"):
                torch.save(images if stem == "best" else images + 9, folder / f"images_{stem}.pt")
                torch.save(labels, folder / f"labels_{stem}.pt")
            torch.save(torch.tensor(0.03), folder / "lr.pt")
            return folder, {}
        case "mtt, one step":
            torch.save(torch.nn.Parameter(images), folder / "images_5000.pt")
            torch.save(labels, folder / "labels_5000.pt")
            return folder / "images_5000.pt", {}
        case "datm":
            torch.save(images, folder / "images.pt")
            torch.save(scores, folder / "labels.pt")
            torch.save(0.03, folder / "lr.pt")
            return folder, {"scores": "logits"}
        case "dc":
            accuracies = {"ConvNet": [np.float64(0.5), np.float32(0.25)]}
            made = {"data": [[images + 9, labels], [images, labels[:, None]]], "accs_all_exps": accuracies}
            torch.save(made, folder / "res_DC_tiny_ConvNet_1ipc.pt")
            return folder / "res_DC_tiny_ConvNet_1ipc.pt", {"format": "tensors(experiment=1)"}
        case "idc":
            torch.save([images, labels], folder / "data_best.pt")
            return folder / "data_best.pt", {}
        case "table":
            torch.save({"images": images.double(), "labels": labels.float()}, folder / "set.pth")
            return folder / "set.pth", {}


@pytest.mark.parametrize("kind", ["mtt", "mtt, one step", "datm", "dc", "idc", "table"])
def test_tensors_of_others_are_read(kind, tiny, tmp_path):
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([2, 0, 1, 2, 0, 1])
    path, how = foreign(kind, tmp_path, images, labels)
    found = ddcore.read_released(path, tiny, **how)
    assert torch.equal(found.inputs, images)
    assert torch.equal(found.targets if found.targets.ndim == 1 else found.targets.argmax(1), labels)
    assert (found.step_sizes is not None) == (kind in ("mtt", "datm"))
    assert "taken for" in found.facts["warnings"][0] and "been through standardise" in found.facts["warnings"][0]


@pytest.mark.parametrize("names", ["new000 new001 new002", "n01 n02 n07", "c a b", "2 0 1"])
def test_folders_of_others_are_read(names, tiny, tmp_path):
    names = names.split()
    for c, name in enumerate(names):
        (tmp_path / name).mkdir()
        image = np.full((8, 8, 3), 40 * c + 10, np.uint8)
        Image.fromarray(image).save(tmp_path / name / f"class{c}_id0.jpg", quality=100)
    (tmp_path / "README.md").write_text("how it was made")
    found = ddcore.read_released(tmp_path, tiny)
    order = [1, 2, 0] if names[0] in "c2" else [0, 1, 2]
    assert [int(v) for v in (found.images() * 255).round()[:, 0, 0, 0]] == [40 * c + 10 for c in order]
    assert found.targets.tolist() == ([0, 1, 2])


def test_pixels_are_told_from_what_was_preprocessed(tiny, tmp_path):
    pixels, labels = torch.rand(3, 1, 8, 8), torch.arange(3)
    torch.save([pixels, labels], tmp_path / "raw.pt")
    found = ddcore.read_released(tmp_path / "raw.pt", tiny)
    assert torch.allclose(found.images(), pixels, atol=1e-6)
    assert "pixels in [0, 1]" in found.facts["warnings"][0]
    for name in ("standardise", "identity"):
        assert torch.equal(ddcore.read_released(tmp_path / "raw.pt", tiny, preprocess=name).inputs, pixels)
    white = ddcore.read_released(tmp_path / "raw.pt", tiny, preprocess="zca(eps=0.2)", raw=True)
    assert white.preprocess == "zca" and (white.images() - pixels).abs().max() < 1e-3
    torch.save([pixels - 1, labels], tmp_path / "low.pt")
    with pytest.raises(BadArtefact, match=r"from -\S+ to \S+, so they are no raw pixels"):
        ddcore.read_released(tmp_path / "low.pt", tiny, raw=True)


def test_tiles_are_decoded_as_idc_does(tiny, tmp_path):
    stored, labels = torch.rand(3, 1, 8, 8), torch.arange(3)
    torch.save([stored, labels], tmp_path / "data.pt")
    found = ddcore.read_released(tmp_path / "data.pt", tiny, factor=2)
    corner = torch.nn.functional.interpolate(stored[:, :, :4, 4:], (8, 8), mode="bilinear")
    assert torch.allclose(found.images()[1::4], corner, atol=1e-6)
    assert found.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and found.nbytes == 3 * (256 + 1)
    with pytest.raises(BadArtefact, match="cannot be cut into 3x3"):
        ddcore.read_released(tmp_path / "data.pt", tiny, factor=3)


LABELS = torch.arange(3)
BAD = {
    "shape": ([torch.zeros(3, 1, 8, 9), LABELS], r"holds 3 items of \(1, 8, 9\), and those of tiny are \(1, 8, 8\)"),
    "none": ([torch.zeros(0, 1, 8, 8), LABELS[:0]], "holds"),
    "count": ([torch.zeros(3, 1, 8, 8), LABELS[:2]], r"3 inputs and targets of \(2,\)"),
    "high": ([torch.zeros(3, 1, 8, 8), LABELS + 1], "its targets are not classes from 0 to 2"),
    "low": ([torch.zeros(3, 1, 8, 8), LABELS - 1], "its targets are not classes from 0 to 2"),
    "no labels": ([torch.zeros(3, 1, 8, 8), LABELS[:0]], r"3 inputs and targets of \(0,\)"),
    "one label": ([torch.zeros(3, 1, 8, 8), LABELS[1]], "Wanted: one class per item"),
    "half": ([torch.zeros(3, 1, 8, 8), LABELS + 0.5], "one class per item, or one row of 3 scores"),
    "many": ([torch.zeros(3, 1, 8, 8), torch.eye(4)[:3]], "its targets have 4 values per item, tiny has 3 classes"),
    "nan": ([torch.full((3, 1, 8, 8), torch.nan), LABELS], "NaN or infinite"),
    "nan scores": ([torch.zeros(3, 1, 8, 8), torch.full((3, 3), torch.nan)], "do not make up 1"),
    "scores": ([torch.zeros(3, 1, 8, 8), torch.eye(3) * 3], "--scores logits, or vectors"),
    "cube": ([torch.zeros(3, 1, 8, 8), torch.zeros(3, 3, 2)], "Wanted: one class per item"),
    "number": ([torch.tensor(3.0), LABELS], "holds no items of"),
    "spread": ([torch.zeros(1).expand(10**12, 1, 8, 8), LABELS], "no stored whole or real numbers"),
    "sparse": ([torch.zeros(3, 1, 8, 8).to_sparse(), LABELS], "no plain tensor|holds more than tensors"),
    "meta": ([torch.zeros(3, 1, 8, 8, device="meta"), LABELS], "no plain tensor"),
    "complex": ([torch.zeros(3, 1, 8, 8, dtype=torch.complex64), LABELS], "no stored whole or real numbers"),
    "text": (["images", LABELS], "no plain tensor"),
    "alone": (torch.zeros(3, 1, 8, 8), "one tensor, and there is no labels"),
    "three": ([LABELS, LABELS, LABELS], "is of no layout that is read"),
    "table": ({"x": LABELS}, "no plain tensor, but NoneType"),
    "empty": ({"data": []}, "holds 0 sets"),
    "data": ({"data": [LABELS]}, "is of no layout that is read"),
    "rate": ({"images": torch.zeros(3, 1, 8, 8), "labels": LABELS, "lr": torch.tensor(-1.0)}, "step sizes"),
    "rates": ({"images": torch.zeros(3, 1, 8, 8), "labels": LABELS, "lr": "fast"}, "its lr are no plain tensor"),
    "code": (np.float64, "is damaged, or holds more than tensors"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_set_for_the_data_is_refused(what, tiny, tmp_path):
    held, sentence = BAD[what]
    torch.save(held, tmp_path / "set.pt")
    with pytest.raises(BadArtefact, match=sentence):
        ddcore.read_released(tmp_path / "set.pt", tiny)


def test_folders_that_are_no_set_are_refused(tiny, tmp_path):
    def refused(sentence, path=tmp_path, error=BadArtefact, **fields):
        with pytest.raises(error, match=sentence):
            ddcore.read_released(path, tiny, **fields)

    refused("There is no file or folder", tmp_path / "nowhere")
    refused(r"looks like no format. Name one \(--format\): .*parquet, pictures, tensors")
    refused("holds no images", format="tensors")
    for stem in ("10", "20"):
        torch.save(torch.zeros(3, 1, 8, 8), tmp_path / f"images_{stem}.pt")
        torch.save(LABELS, tmp_path / f"labels_{stem}.pt")
    refused("holds images_10.pt, images_20.pt. Name the file of the images that are meant")
    folder = tmp_path / "pictures"
    (folder / "x").mkdir(parents=True)
    refused(r"The 1 classes x ... are none of the 3 of tiny", folder)
    (folder / "x").rename(folder / "2")
    refused("There are no images", folder)
    (folder / "2" / "a.png").write_bytes(b"no image")
    refused("a.png is not an image that can be read", folder, BadData)
    Image.new("L", (9, 8)).save(folder / "2" / "a.png")
    refused("a.png is 9x8, and the images of tiny are 8x8", folder)
    Image.new("L", (8, 8)).save(folder / "2" / "a.png")
    (folder / "labels.csv").write_text("file,0,1,2\nelsewhere.png,1,0,0\n")
    refused("labels.csv is no table of a file and its scores", folder)
    refused("preprocess.public names a file", folder, RecipeRefused, preprocess="zca(public='x')")
    refused("names 2 parts", folder, RecipeRefused, format="tensors,pictures")
    refused("There is no format named 'picturs'. Did you mean pictures", folder, DdcoreError, format="picturs")


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_are_refused_in_a_sentence(format, distilled, tiny, tmp_path, fuzz):
    from hypothesis import strategies as st

    ddcore.export(shared(distilled), tmp_path / PATHS[format], format)
    files = [p for p in sorted({tmp_path / PATHS[format], *(tmp_path / PATHS[format]).rglob("*")}) if p.is_file()]
    whole = {p: p.read_bytes() for p in files if p.suffix != ".md"}

    def attack(draw):
        path = draw(st.sampled_from(sorted(whole)))
        data = bytearray(whole[path])
        if draw(st.booleans()):
            data = data[: draw(st.integers(0, len(data)))]
        for _ in range(draw(st.integers(1, 4)) if data else 0):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        path.write_bytes(data)
        try:
            ddcore.read_released(tmp_path / PATHS[format], tiny)
            return "read"
        except DdcoreError as error:
            return "refused" if str(error).endswith(".") else "refused in no sentence"
        finally:
            path.write_bytes(whole[path])

    counts = fuzz(attack, 25)
    assert counts["refused"] > 3 and counts["refused in no sentence"] == 0


def test_what_unpacks_to_far_more_is_refused(tiny, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    torch.save([torch.zeros(2**20, 1, 8, 8), torch.zeros(2**20, dtype=torch.int64)], tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "set.pt", "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    rows = {"image": [b"x"] * 10**6, "label": [0] * 10**6}
    parquet.write_table(pa.table(rows), tmp_path / "set.parquet", compression="zstd")
    for name in ("set.pt", "set.parquet"):
        with pytest.raises(DdcoreError, match="unpacks from|more rows than bytes"):
            ddcore.read_released(tmp_path / name, tiny)


def test_a_plugin_brings_a_format(distilled, tiny, tmp_path):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Npy(dd.Format):
        """One array."""

        def write(self, distilled, out):
            np.save(out.with_suffix(".npy"), distilled.inputs.numpy())
            out.with_suffix(".npy").rename(out)
            return []

        def read(self, path, card):
            return dd.Released(torch.from_numpy(np.load(path)), torch.arange(6) // 2, "one array")

        def takes(self, path):
            return path.suffix == ".array"

    host = Host()
    host.catalogue.add([Npy], "here")
    ddcore.export(distilled, tmp_path / "set.array", "npy", host=host)
    again = ddcore.read_released(tmp_path / "set.array", tiny, host=host)
    assert torch.equal(again.inputs, distilled.inputs) and torch.equal(again.targets, distilled.targets)


def test_the_command_line_evaluates_what_others_released(tmp_path):
    run = tmp_path / "run"
    small = ["--networks", "mlp(width=4)", "--repeats", 1, "--set", "protocol.steps=2", "--baselines", "random"]
    assert call("distill", "random", "--out", run, *small).exit_code == 0
    assert call("export", run, tmp_path / "set", "--format", "pictures").exit_code == 0
    done = call("import", tmp_path / "set", "--data", "digits", "--out", tmp_path / "set.safetensors")
    assert done.exit_code == 0, done.output
    assert "taken for 10 pictures in 10 folders, known by the names of their classes" in done.stdout.replace("\n", " ")
    done = call("evaluate", tmp_path / "set.safetensors", *small)
    assert done.exit_code == 0, done.output
    assert "released (distilled)" in done.stdout and "Warning: Others released it" in done.stdout
    torch.save([torch.rand(10, 1, 16, 16), torch.arange(10)], tmp_path / "raw.pt")
    words = ["import", tmp_path / "raw.pt", "--data", "digits", "--out", tmp_path / "raw.safetensors"]
    assert call(*words, "--preprocess", "raw", "--factor", 2).exit_code == 0
    assert len(ddcore.load_distilled(tmp_path / "raw.safetensors")) == 40
    for more, sentence in (
        (["--preprocess", "zcaa"], "There is no preprocess named 'zcaa'. Did you mean zca?"),
        (["--format", "pictures"], "raw.pt is no folder with a folder of images per class"),
        (["--data", "nowhere.npz"], "There is no file"),
    ):
        done = call(*words, *more)
        assert done.exit_code == 2 and sentence in done.stderr.replace("\n", " "), done.output
    assert call("import", tmp_path / "raw.pt", "--out", tmp_path / "x").stderr.startswith("Error: Say with --data")


def test_scores_stand_beside_pictures(distilled, tmp_path):
    ddcore.export(shared(distilled), tmp_path / "set", "pictures")
    with (tmp_path / "set" / "labels.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "0", "1", "2"] and len(rows) == 6
    for name, *scores in rows:
        assert (tmp_path / "set" / name).is_file()
        assert max(range(3), key=lambda c: float(scores[c])) == int(name.split("/")[0])
