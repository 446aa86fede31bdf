"""What people look at: the picture, the report, the comparison."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import ddcore
from ddcore import DataCard, DdcoreError, DistilledSet, Protocol, compare
from ddcore.packing import to_dict
from ddcore.plots import Line, Panel, Plot
from ddcore.preprocess import Identity, Standardise
from ddcore.report.picture import write_images
from ddcore.report.report import write_report
from ddcore.tensors import LabelledTensors


def test_the_picture_shows_true_colours_a_row_a_class(tmp_path):
    card = DataCard("colours", (3, 8, 8), 2, (9, 9), class_names=("warm", "cold"), mean=(0.5,) * 3, std=(0.25,) * 3)
    preprocess = Standardise().start(card, dict)
    colours = torch.tensor([[1.0, 0, 0], [1, 0.5, 0], [0, 0, 1], [0, 1, 1]])
    inputs = preprocess(colours[:, :, None, None].expand(4, 3, 8, 8))
    distilled = DistilledSet(LabelledTensors(inputs, torch.tensor([0, 0, 1, 1])), card, "made", "", 4000)
    path = write_images(distilled, preprocess, tmp_path / "images.png")
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    height = picture.shape[0]
    step = height / 2
    for i, colour in enumerate(colours):
        row = i // 2
        strip = picture[int((row + 0.5) * step)]
        wanted = (colour * 255).round().int().tolist()
        assert (np.abs(strip - wanted).max(1) <= 2).sum() > 30, f"colour {i} is missing from its row"
        other = picture[int((1.5 - row) * step)]
        assert not (np.abs(other - wanted).max(1) <= 2).any()


def test_the_picture_takes_grey_images_odd_names_and_classes_without_items(tmp_path):
    card = DataCard("grey", (1, 8, 8), 3, (9, 9, 9), class_names=("a$b", "$x^$", "c"))
    inputs = torch.tensor([0.0, 0.5])[:, None, None, None].expand(2, 1, 8, 8)
    distilled = DistilledSet(LabelledTensors(inputs, torch.tensor([0, 2])), card, "made", "", 4000)
    path = write_images(distilled, Identity().start(card, dict), tmp_path / "images.png")
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    right = picture[:, -30:-10].reshape(3, -1, 20, 3)
    assert [np.abs(row - grey).max(2).min() <= 2 for row, grey in zip(right, (0, 255, 128), strict=True)] == [True] * 3


def test_soft_labels_put_an_image_in_the_row_of_its_likeliest_class(tmp_path):
    card = DataCard("soft", (1, 8, 8), 2, (9, 9))
    inputs = torch.tensor([0.25, 0.75])[:, None, None, None].expand(2, 1, 8, 8)
    distilled = DistilledSet(LabelledTensors(inputs, torch.tensor([[0.2, 0.8], [0.9, 0.1]])), card, "made", "", 4000)
    path = write_images(distilled, Identity().start(card, dict), tmp_path / "images.png")
    picture = np.asarray(Image.open(path).convert("L")).astype(int)
    assert [picture[int(len(picture) * at), -20] for at in (0.25, 0.75)] == [pytest.approx(v, abs=2) for v in (191, 64)]


def test_a_picture_of_very_many_classes_is_cut(tmp_path):
    card = DataCard("many", (1, 64, 64), 400, (9,) * 400)
    distilled = DistilledSet(LabelledTensors(torch.zeros(400, 1, 64, 64), torch.arange(400)), card, "made", "", 4000)
    path = write_images(distilled, Identity().start(card, dict), tmp_path / "images.png")
    with Image.open(path) as picture:
        assert 10_000 < picture.size[1] <= 16_400


def test_what_is_no_image_has_no_picture(tmp_path):
    card = DataCard("rows", (5,), 2, (1, 1), kind="vector")
    distilled = DistilledSet(LabelledTensors(torch.zeros(2, 5), torch.tensor([0, 1])), card, "made", "", 4000)
    assert write_images(distilled, Identity().start(card, dict), tmp_path / "x.png") is None


def score(mean, std):
    return {"mean": mean, "std": std, "values": [mean - std, mean + std], "lr": 0.002}


ACCURACY = {"unit": "%", "higher_is_better": True, "digits": 1}
CALIBRATION = {"unit": "%", "higher_is_better": False, "digits": 2}


def metrics(method="dm", seed=0, mean=90.0, **fields):
    return {
        "method": method,
        "data": "digits",
        "ipc": 1,
        "seed": seed,
        "network": "ConvNet(width=32)",
        "scores": {"accuracy": {"convnet": score(mean, 1.5)}},
        "baselines": {
            "random": {"accuracy": {"convnet": score(70.0 + seed, 2.0)}},
            "whole": {"accuracy": {"convnet": score(99.0, 0.2)}},
        },
        "measures": {"accuracy": ACCURACY},
        "chosen_by": "accuracy",
        "preset": "quick",
        "bytes": 10250,
        "uncovered": [],
        "baseline_bytes": {"random": 2570, "whole": 368_000},
        "seconds": {"distilling": 20.0 + seed, "evaluating": 3.0},
        "peak_mib": 900,
        "protocol": to_dict(Protocol()),
        "steps": 100,
        "versions": {"ddcore": "0.1.0"},
        "facts": {"epsilon": 8.0, "seed": seed},
        "cites": ["@inproceedings{zhao2023dm,\n}", "@article{other,\n}"],
        **fields,
    }


def test_the_report_holds_the_numbers(tmp_path):
    text = write_report(metrics(), tmp_path / "report.md").read_text()
    for line in ("| dm (distilled) | 90.0 ± 1.5 |", "| random | 70.0 ± 2.0 |", "| whole | 99.0 ± 0.2 |", "10 250"):
        assert line in text
    assert "| epsilon | 8.0 |" in text
    assert "not private by itself" in text
    assert text.endswith("## Cite\n\n```bibtex\n@inproceedings{zhao2023dm,\n}\n@article{other,\n}\n```\n")


def test_names_of_any_kind_are_drawn_as_they_are(write, tmp_path):
    odd = metrics(method=r"$\frac$", data="$x^$", measures={"accuracy": {**ACCURACY, "unit": "$"}})
    assert compare([write(odd), write(metrics())]).plot(tmp_path / "odd.png").read_bytes()[1:4] == b"PNG"


def test_the_report_shows_no_deviation_of_a_single_network(tmp_path):
    one = {"convnet": {"mean": 65.6, "std": 0.0, "values": [65.6], "lr": 0.002}}
    run = metrics(
        scores={"accuracy": one}, baselines={}, protocol=to_dict(Protocol(repeats=1)), facts={"stopped": "spent|\nall"}
    )
    text = write_report(run, tmp_path / "report.md").read_text()
    assert "| dm (distilled) | 65.6 ± - |" in text
    assert "here a single one" in text
    assert "| stopped | spent\\| all |" in text


@pytest.fixture
def write(tmp_path):
    """Writes a run's metrics, and its recipe where there is one, in a folder of its own."""
    numbers = iter(range(100))

    def written(run, recipe=None):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(run))
        if recipe is not None:
            (folder / "recipe.toml").write_text(recipe)
        return folder

    return written


@pytest.fixture
def folders(write):
    return [
        write(metrics(seed=0, mean=90.0)),
        write(metrics(seed=1, mean=94.0)),
        write(metrics("dc", mean=92.0)),
        write(metrics(ipc=10, bytes=102500)),
    ]


def test_runs_that_differ_by_their_seed_are_one_row_with_both_deviations(folders):
    rows = {(row.method, row.ipc): row for row in compare(folders).rows}
    dm = rows["dm", 1]
    assert (dm.first.mean, dm.first.std_nets, dm.seeds, dm.seconds) == (92.0, 1.5, 2, 20.5)
    assert dm.first.std_seeds == pytest.approx(8**0.5)
    assert rows["dc", 1].first.std_seeds is None
    assert (rows["random", 1].bytes, rows["whole", 1].bytes) == (2570, 368_000)
    assert rows["dm", 10].bytes == 102500
    assert len([row for row in compare(folders).rows if (row.method, row.ipc) == ("random", 1)]) == 1


def test_what_differs_by_more_than_the_seed_is_a_row_of_its_own_and_says_by_what(write):
    text = 'name = "dm"\niterations = 9\nseed = {}\n[update.lr]\ninputs = {}\n[experiment.data]\nroot = "{}"\n'
    runs = [(0, 0.5, "a"), (1, 0.5, "b"), (0, 2.0, "a")]
    found = compare([write(metrics(seed=s, mean=90 + lr), text.format(s, lr, root)) for s, lr, root in runs])
    own = {row.label: (row.seeds, row.first.mean) for row in found.rows if row.method == "dm"}
    assert own == {"dm (update.lr.inputs=0.5)": (2, 90.5), "dm (update.lr.inputs=2.0)": (1, 92.0)}


def test_a_method_s_line_has_one_name_at_every_ipc(write):
    text = "[synthetic]\nipc = {}\n[update]\nclip = {}\n"
    settings = [(1, 3), (1, 4), (10, 3)]
    found = compare([write(metrics(ipc=ipc), text.format(ipc, clip)) for ipc, clip in settings])
    assert {(row.ipc, row.label) for row in found.rows if row.method == "dm"} == {
        (ipc, f"dm (update.clip={clip})") for ipc, clip in settings
    }
    alone = compare([write(metrics(ipc=ipc), text.format(ipc, ipc)) for ipc in (1, 10)])
    assert {row.label for row in alone.rows if row.method == "dm"} == {"dm"}


def test_a_run_given_twice_counts_once(write, folders):
    again = write(metrics(seed=0, mean=90.0))
    for given in ([folders[0], folders[0] / ".." / "0"], [folders[0], again]):
        (row,) = (row for row in compare(given).rows if row.method == "dm")
        assert (row.seeds, row.first.std_seeds) == (1, None)


def test_baselines_stand_once_over_the_seeds_of_all_methods(write):
    runs = [metrics("dm"), *(metrics("dc", seed=seed, mean=80 + seed) for seed in range(3))]
    (row,) = (row for row in compare(map(write, runs)).rows if row.method == "random")
    assert (row.seeds, row.first.mean, row.first.std_seeds, row.first.std_nets) == (3, 71.0, 1.0, 2.0)
    own = compare([write(metrics("dm")), write(metrics("random", mean=75.0))])
    assert [row.first.mean for row in own.rows if row.method == "random"] == [75.0]


def test_protocols_stand_apart_and_other_networks_beside_do_not(write):
    scores = {"accuracy": {"convnet": score(92, 1.5), "mlp": score(50, 1)}}
    wide = metrics(seed=1, scores=scores, baselines={})
    wide["protocol"]["networks"].append({"name": "mlp"})
    long = metrics(seed=2, protocol=to_dict(ddcore.protocol("dc")))
    rows = [row for row in compare(map(write, [metrics(), wide, long])).rows if row.method == "dm"]
    assert [(row.network, row.seeds) for row in rows] == [("convnet", 2), ("convnet", 1), ("mlp", 1)]
    assert "300 epochs" in rows[1].protocol


def test_other_measures_are_further_columns_and_stand_beside_runs_without_them(write):
    both = {"accuracy": {"convnet": score(90, 1.5)}, "calibration_error": {"convnet": score(4, 0.5)}}
    runs = [
        metrics(seed=0),
        metrics(seed=1, scores=both, measures={"accuracy": ACCURACY, "calibration_error": CALIBRATION}),
        metrics("dc", scores=both, measures={"accuracy": ACCURACY, "calibration_error": CALIBRATION}),
    ]
    found = compare(map(write, runs))
    assert "| calibration error ± nets | ± seeds (n) |" in found.markdown()
    assert "| dm | digits | 1 | convnet | 90.0 ± 1.5 | 0.0 (2) | 4.00 ± 0.50 | - |" in found.markdown()
    assert "| random | digits | 1 | convnet | 70.5 ± 2.0 | 0.7 (2) | - | - |" in found.markdown()
    row = next(row for row in csv.DictReader(io.StringIO(found.csv())) if row["method"] == "dc")
    assert (float(row["calibration_error"]), float(row["calibration_error_std_nets"])) == (4.0, 0.5)


def test_the_measure_that_chooses_comes_first_and_the_lower_error_on_top(write):
    def run(method, error):
        scores = {"accuracy": {"convnet": score(90, 1.5)}, "calibration_error": {"convnet": score(error, 0.5)}}
        measures = {"accuracy": ACCURACY, "calibration_error": CALIBRATION}
        return metrics(method, scores=scores, measures=measures, chosen_by="calibration_error", baselines={})

    found = compare(map(write, [run("dm", 9), run("dc", 3)]))
    assert [row.method for row in found.rows] == ["dc", "dm"]
    assert found.table()[0][4] == "calibration error ± nets"


def test_nets_that_diverged_are_counted_and_not_averaged(write, tmp_path):
    lost = {"mean": None, "std": None, "values": [None, None], "lr": 0.1}
    half = {"mean": 80.0, "std": 0.0, "values": [80.0, None], "lr": 0.1}
    run = metrics(scores={"accuracy": {"convnet": half}}, baselines={"random": {"accuracy": {"convnet": lost}}})
    text = write_report(run, tmp_path / "report.md").read_text()
    assert "| dm (distilled) | 80.0 ± -, diverged 1 of 2 |" in text
    assert "| random | diverged 2 of 2 |" in text
    found = compare([write(run)])
    assert [row.method for row in found.rows] == ["dm", "random"]
    assert "80.0 ± 0.0, diverged 1 of 2" in found.markdown() and "| diverged 2 of 2 |" in found.markdown()
    assert found.plot(tmp_path / "compare.png").exists()


def test_networks_of_one_class_are_told_apart_by_what_differs(write):
    def run(seed, **fields):
        one = metrics(seed=seed, baselines={})
        one["protocol"]["networks"] = [{"name": "convnet", "norm": "instance", **fields}]
        return one

    found = compare(map(write, [run(0, width=32), run(1, width=64), run(2, width=64)]))
    assert {(row.network, row.seeds) for row in found.rows} == {("convnet(width=32)", 1), ("convnet(width=64)", 2)}


def test_the_report_writes_the_protocol_as_a_person_would(tmp_path):
    run = metrics(protocol=to_dict(ddcore.protocol("dc", networks=(ddcore.ConvNet(width=8), ddcore.MLP()))))
    text = write_report(run, tmp_path / "report.md").read_text()
    assert "none = true" not in text and '{"none"' not in text
    for line in ("| preset | quick |", "| augment | none |", "| optimiser | sgd(momentum=0.9, weight_decay=0.0005) |"):
        assert line in text
    assert "| networks | convnet(width=8," in text


def test_the_comparison_as_text_and_picture(folders, tmp_path):
    found = compare(folders)
    table = list(csv.DictReader(io.StringIO(found.csv())))
    assert {row["method"] for row in table} == {"dm", "dc", "random", "whole"}
    assert float(table[0]["accuracy"]) == 99.0
    assert "| dm | digits | 1 | convnet | 92.0 ± 1.5 | 2.8 (2) | 10 250 | 20.5 |" in found.markdown()
    picture = Image.open(found.plot(tmp_path / "compare.png"))
    assert picture.format == "PNG"
    assert len(picture.convert("RGB").getcolors(100_000)) > 100


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "holds no finished experiment"),
        ("{", "is damaged"),
        ("{}", "is damaged .method: Field required"),
        ("[]", "is damaged"),
        (json.dumps(metrics(scores=3)), "is damaged .scores: Input should be"),
        (json.dumps(metrics(baseline_bytes={"random": 1})), "is damaged .it: Value error, baseline_bytes lacks whole"),
        (
            json.dumps(metrics(scores={"accuracy": {"convnet": {"mean": 1}}})),
            "is damaged .scores.accuracy.convnet.std: Field required",
        ),
        (json.dumps(metrics(measures={})), "is damaged .it: Value error, measures lacks accuracy"),
        (json.dumps(metrics(chosen_by="worst")), "is damaged .it: Value error, scores lacks worst"),
    ],
)
def test_folders_that_cannot_be_compared_are_refused(text, sentence, tmp_path):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(DdcoreError, match=sentence):
        compare([tmp_path])


def test_places_without_a_panel_stay_empty(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr("ddcore.plots.save_figure", lambda figure, path: figures.append(figure))
    panel = Panel([Line("one", [1.0, 2.0], [0, 1])])
    Plot("two and one", "x", "y", [[panel, panel], [panel]]).save(tmp_path / "plot.png")
    assert [axes.axison for axes in figures[0].axes] == [True, True, True, False]
