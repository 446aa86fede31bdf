"""What people look at: the picture, the report, the comparison."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from ddcore import DataCard, DdcoreError, DistilledSet, compare
from ddcore.preprocess import Identity, Standardise
from ddcore.report import write_images, write_report


def test_the_picture_shows_true_colours_a_row_a_class(tmp_path):
    card = DataCard("colours", (3, 8, 8), 2, (9, 9), class_names=("warm", "cold"), mean=(0.5,) * 3, std=(0.25,) * 3)
    preprocess = Standardise().start(card, dict)
    colours = torch.tensor([[1.0, 0, 0], [1, 0.5, 0], [0, 0, 1], [0, 1, 1]])
    inputs = preprocess(colours[:, :, None, None].expand(4, 3, 8, 8))
    distilled = DistilledSet(inputs, torch.tensor([0, 0, 1, 1]), card, "made", "", 1)
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


def test_what_is_no_image_has_no_picture(tmp_path):
    card = DataCard("rows", (5,), 2, (1, 1))
    distilled = DistilledSet(torch.zeros(2, 5), torch.tensor([0, 1]), card, "made", "", 1)
    assert write_images(distilled, Identity().start(card, dict), tmp_path / "x.png") is None


def metrics(method="dm", seed=0, mean=90.0, **fields):
    return {
        "method": method,
        "data": "digits",
        "ipc": 1,
        "seed": seed,
        "network": "ConvNet(width=32)",
        "accuracy": {"convnet": {"mean": mean, "std": 1.5, "values": [mean], "lr": 0.002}},
        "baselines": {
            "random": {"convnet": {"mean": 70.0 + seed, "std": 2.0, "values": [70.0], "lr": 0.002}},
            "whole": {"convnet": {"mean": 99.0, "std": 0.2, "values": [99.0], "lr": 0.002}},
        },
        "bytes": 10250,
        "seconds": {"distilling": 20.0 + seed, "evaluating": 3.0},
        "peak_mib": 900,
        "protocol": {"steps": 250, "optimiser": "adam", "repeats": 5},
        "steps": 100,
        "versions": {"ddcore": "0.1.0"},
        "facts": {"epsilon": 8.0, "seed": seed},
        "cites": ["@inproceedings{zhao2023dm,\n}\n"],
        **fields,
    }


def test_the_report_holds_the_numbers(tmp_path):
    text = write_report(metrics(), tmp_path / "report.md").read_text()
    for line in ("| dm (distilled) | 90.0 ± 1.5 |", "| random | 70.0 ± 2.0 |", "| whole | 99.0 ± 0.2 |", "10 250"):
        assert line in text
    assert "| epsilon | 8.0 |" in text
    assert "not private by itself" in text
    assert "@inproceedings{zhao2023dm" in text


@pytest.fixture
def folders(tmp_path):
    runs = [
        metrics(seed=0, mean=90.0),
        metrics(seed=1, mean=94.0),
        metrics("dc", mean=92.0),
        metrics(ipc=10, bytes=102500),
    ]
    found = []
    for i, run in enumerate(runs):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(run))
        found.append(folder)
    return found


def test_runs_that_differ_by_their_seed_are_one_row_with_both_deviations(folders):
    rows = {(row.method, row.ipc): row for row in compare(folders).rows}
    dm = rows["dm", 1]
    assert (dm.accuracy, dm.std_nets, dm.seeds, dm.seconds) == (92.0, 1.5, 2, 20.5)
    assert dm.std_seeds == pytest.approx(8**0.5)
    assert rows["dc", 1].std_seeds is None
    assert rows["whole", 1].bytes is None
    assert rows["dm", 10].bytes == 102500
    assert len([row for row in compare(folders).rows if (row.method, row.ipc) == ("random", 1)]) == 1


def test_the_comparison_as_text_and_picture(folders, tmp_path):
    found = compare(folders)
    table = list(csv.DictReader(io.StringIO(found.csv())))
    assert {row["method"] for row in table} == {"dm", "dc", "random", "whole"}
    assert float(table[0]["accuracy"]) == 99.0
    assert "| dm | digits | 1 | convnet | 92.0 ± 1.5 | 2.8 (2) | 10 250 | 20.5 |" in found.markdown()
    assert Image.open(found.plot(tmp_path / "compare.png")).size[0] > 500


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "holds no finished experiment"), ("{", "is damaged"), ("{}", "it lacks accuracy"), ("[]", "is damaged")],
)
def test_folders_that_cannot_be_compared_are_refused(text, sentence, tmp_path):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(DdcoreError, match=sentence):
        compare([tmp_path])
