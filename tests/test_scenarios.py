"""Each scenario runs as a user would run it, in its smoke form, and says in its first lines what it showed."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ddcore
from ddcore.testing import tiny_images

SCENARIOS = sorted((Path(__file__).resolve().parents[1] / "scenarios").glob("*.py"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_has_at_most_150_lines(path):
    assert len(path.read_text().splitlines()) <= 150


@pytest.fixture
def scenario(script, tmp_path):
    """Runs the scenario of a name with the given words and ``--smoke``; what it said."""
    paths = {path.stem: path for path in SCENARIOS}

    def run(name, *words):
        debug = "os.environ['DDCORE_DEBUG'] = '1'"
        status, said = script(paths[name], *words, "--out", tmp_path / "runs", "--smoke", before=debug)
        assert status == 0, said
        return said

    return run


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_tells_what_it_shows_needs_takes_and_saw(path):
    told = path.read_text().split('"""')[1]
    for word in ("Shows", "Needs", "minutes", "--smoke"):
        assert word in told
    assert re.search(r"\d+\.\d+ ± \d", told), "numbers seen"


ROOTED = [path for path in SCENARIOS if '"--root"' in path.read_text()]
WORDS = {"backdoor": ["--data", "mnist"], "nas": ["--data", "mnist"]}
"""What else is told to those that read nothing below --root by default."""


@pytest.mark.parametrize("path", ROOTED, ids=lambda path: path.stem)
def test_data_that_are_not_there_are_a_sentence(script, tmp_path, path):
    root = tmp_path / "nowhere"
    status, said = script(path, "--root", root, "--out", tmp_path / "runs", *WORDS.get(path.stem, []))
    assert status == 2, said
    assert "Error: " in said and str(root) in said and "Traceback" not in said


def test_a_program_ends_as_the_command_line_does(capsys, monkeypatch):
    def unexpected():
        return 1 / 0

    ddcore.plugin.program(lambda: print("done"))
    with pytest.raises(SystemExit) as ended:
        ddcore.plugin.program(unexpected)
    out, said = capsys.readouterr()
    assert (ended.value.code, out) == (1, "done\n")
    assert said.startswith("Error: ZeroDivisionError: division by zero.") and "Traceback" not in said
    monkeypatch.setenv("DDCORE_DEBUG", "1")
    with pytest.raises(SystemExit):
        ddcore.plugin.program(unexpected)
    assert "in unexpected" in capsys.readouterr().err


def test_mnist_smoke(scenario, shared, tmp_path):
    root = shared("MNIST").parent
    said = scenario("mnist", "--root", root, "--methods", "dm", "dc", "--ipc", "1")
    assert said.count("MiB at the peak") == 2
    assert len(list((tmp_path / "runs" / "cases").glob("mnist-d?-ipc1-0-*/report.md"))) == 2
    assert "dm | mnist | 1 | convnet" in said


def test_fashion_smoke(scenario, shared, tmp_path):
    root = shared("FashionMNIST").parent
    said = scenario("fashion", "--root", root, "--data", "fashion", "--ipc", "1", "--methods", "taught_tiles", "dm")
    for name in ("taught_tiles", "dm", "random, 4 per class"):
        assert f"{name} | fashion | 1 | convnet" in said


def test_reproduce_smoke(scenario, shared, tmp_path):
    root = shared("FashionMNIST").parent
    words = ["--root", root, "--data", "fashion", "--methods", "dm", "mtt"]
    assert "mtt | fashion | 1 | convnet" in scenario("reproduce", *words)
    assert re.search(r"fashion +ipc 1 +dm +2 iterations +\d+\.\d h", scenario("reproduce", *words, "--plan"))


def test_reached_smoke(scenario):
    assert re.search(r"digits +ipc 1 +dm +2 of +4 .* \d+\.\d ± \d+\.\d \(-\)", scenario("reached", "--networks", "2"))


def test_what_is_recorded_of_published_settings_is_what_its_scenario_tells(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import reached

    record = json.loads(reached.RECORD.read_text())
    assert "\n".join(reached.lines(record["rows"])) in reached.__doc__
    assert record["device"] in reached.__doc__ and all(row["evaluated_by"]["torch"] for row in record["rows"])


def test_minutes_smoke(scenario, shared, tmp_path):
    said = scenario("minutes", "--root", shared("FashionMNIST").parent)
    assert "fashion | 1 | mtt (0.02 min) | - | not begun" in said
    assert re.search(r"fashion \| 1 \| dm \(0.02 min\) \| convnet \| \d", said)


def test_yardstick_smoke(scenario, shared, tmp_path):
    root = shared("FashionMNIST").parent
    said = scenario("yardstick", "--root", root, "--data", "fashion", "--ipc", "1")
    assert "published" in said and "herding | fashion | 1 | convnet" in said and "whole | fashion" in said


def test_what_is_recorded_of_the_yardstick_is_what_its_scenario_tells(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import yardstick

    record = json.loads(yardstick.RECORD.read_text())
    assert yardstick.table(record["rows"]) in yardstick.__doc__
    assert record["command"] in yardstick.__doc__ and record["device"] and record["versions"]["torch"]
    whole = [row for row in record["rows"] if row["method"] == "whole"]
    assert len(whole) == 2 and all(len(row["seeds"]) == len(row["nets"]) for row in record["rows"])


def test_what_is_recorded_of_minutes_is_what_the_scenario_says_it_saw(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import minutes

    record = json.loads(minutes.RECORD.read_text())
    assert "\n".join(minutes.said(record["rows"])) in minutes.__doc__
    assert {row["method"] for row in record["rows"]} == {*minutes.METHODS, "random", "herding", "whole"}
    assert record["device"] and record["versions"]["torch"]


@pytest.mark.parametrize("path", sorted((SCENARIOS[0].parent / "results").glob("bench-*.json")), ids=lambda p: p.stem)
def test_what_is_recorded_of_speed_names_rows_that_there_are(path):
    from ddcore.bench import ROWS, TOLERANCE

    record = json.loads(path.read_text())
    assert record["command"].startswith("ddcore bench ") and record["machine"]["torch"]
    assert {row["row"] for row in record["rows"]} <= ROWS.keys() & set(record["command"].split())
    assert all(row["apart"] <= TOLERANCE for row in record["rows"])


def test_loop_smoke(scenario, tmp_path):
    """What is written by hand and what the core makes is the same."""
    (apart,) = re.findall(r"^(\S+) apart$", scenario("loop"), re.MULTILINE)
    assert float(apart) < 1e-6
    assert (tmp_path / "runs" / "digits.png").stat().st_size > 1000


def test_private_smoke(scenario, shared, tmp_path):
    root = shared("MNIST").parent
    words = ["--root", root, "--epsilon", "10", "--methods", "psg", "dp_sgd", "dm"]
    for _ in range(2):
        said = scenario("private", *words)
        for line in ("psg | 10", "dp_sgd | 10", "dm | not private"):
            assert line in said
    assert (tmp_path / "runs-smoke" / "finding.csv").read_text().count("\n") == 4
    assert (tmp_path / "runs-smoke" / "private.png").stat().st_size > 5000
    (report,) = (tmp_path / "runs-smoke" / "cases").glob("psg-epsilon_10-0-*/report.md")
    assert "## Privacy" in report.read_text()


def test_replay_smoke(scenario, shared, tmp_path):
    root = shared("MNIST").parent
    words = ["--root", root, "--data", "mnist", "--memories", "balanced", "olcgm", "dm", "dm_bases"]
    for _ in range(2):
        said = scenario("replay", *words)
        assert "balanced | rehearse | 10 | 7850" in said
        assert "dm | scratch | 10 | 7890" in said
    for name in ("report.md", "experiences.png", "memory.png"):
        assert (tmp_path / "runs-smoke" / "mnist" / name).exists()


def test_backdoor_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("backdoor", "--methods", "dc", "--shares", "0.1", "--seeds", "0")
        for line in ("dc | naive patch | 10 %", "dc | doorping neuron unbounded patch | 10 %", "dc | T | strip"):
            assert line in said
    found = tmp_path / "runs-smoke"
    assert (found / "digits" / "dc" / "finding.csv").exists()
    assert len(list(found.rglob("triggers.png"))) == 1
    assert (found / "digits-defences" / "report.md").exists()


def test_federated_smoke(scenario, shared, tmp_path):
    root = shared("FashionMNIST").parent
    said = scenario("federated", "--root", root, "--data", "fashion", "--alphas", "0.1")
    for name in (
        "fedavg | 2",
        "feddm, 1 per class, sets kept | 2",
        *(f"{m}, 1 per class, one shot | 1" for m in ("feddm", "random")),
    ):
        assert name in said
    for name in ("report.md", "bytes.png", "rounds.png", "cases"):
        assert (tmp_path / "runs-smoke" / "fashion-0.1-2" / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("breaks", "status", "ended"), [("", 0, "completed"), ("\n1 / 0\n", 1, "failed")])
def test_the_flower_app_ends_as_its_runner_says(tmp_path, breaks, status, ended):
    """``flwr run`` answers 0 whatever became of the run."""
    folder = tmp_path / "federated"
    shutil.copytree(SCENARIOS[0].parent / "federated", folder)
    server = folder / "ddapp" / "server_app.py"
    server.write_text(server.read_text() + breaks)
    words = [sys.executable, folder / "run.py", "--clients", "2", "--rounds", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert f"flwr run answered 0, flwr list says finished:{ended}" in done.stdout, done.stdout + done.stderr
    assert done.returncode == status


def test_robust_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("robust", "--data", "digits", "--sets", "dm", "tri_level", "whole")
        assert "tri_level | adversarial |" in said
        assert "After standard training tri_level is" in said
    assert "3 of 3 cases found" in said
    for name in ("report.md", "finding.json", "epsilon.png"):
        assert (tmp_path / "runs-smoke" / "digits-0.1" / name).exists()


def test_published_smoke(scenario, shared, tmp_path):
    root = shared("MNIST").parent
    words = ["--root", root, "--data", "mnist", "--ipc", "1", "--methods", "idc"]
    for _ in range(2):
        said = scenario("published", *words)
        assert "| seconds | published" in said
        assert "idc | mnist | 1 | convnet" in said
    assert "1 of 1 cases found" in said
    assert (tmp_path / "runs-smoke" / "mnist" / "finding.csv").exists()


def test_digits_smoke(scenario, tmp_path):
    said = scenario("digits", "--methods", "dm", "idc")
    assert (tmp_path / "runs-smoke" / "compare.png").stat().st_size > 5000
    assert "idc | digits | 1 |" in said


def test_nas_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("nas", "--proxies", "early", "random", "dm", "gtn")
        for line in ("T, stopped early | 2 |", "dm, 10 per class | 2 |", "gtn, 10 per class, replayed | 15 |"):
            assert line in said
    for name in ("report.md", "scatter.png", "regret.png", "top.png"):
        assert (tmp_path / "runs-smoke" / name).exists()


def test_decoupled_smoke(scenario, tmp_path):
    said = scenario("decoupled", "--methods", "random", "random-taught")
    assert "random-taught | digits | 10 |" in said


def test_what_is_recorded_of_the_digits_is_what_the_table_of_methods_is_made_of(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import digits

    from ddcore.docs import methods

    assert digits.RECORD == methods.RECORD and digits.CHOSEN == methods.CHOSEN
    record = json.loads(digits.RECORD.read_text())
    study = digits.study(["idc", "dm"], seeds=3, smoke=False)
    assert (study.methods, study.seeds, study.baselines) == (("dm", "idc"), (0, 1, 2), ("random", "herding", "whole"))
    row = {"accuracy": 1.0, "accuracy_std_nets": 0.1, "accuracy_std_seeds": 0.2, "seeds": 3, "bytes": 9}
    assert digits.recorded({**row, "seconds": None}).keys() == record["methods"]["random"].keys()


def test_graph_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("graph", "--methods", "random_nodes", "gcdm", "--noise", "--transfer")
        for line in ("whole | ", "random_nodes | 8 | ", "gcdm | 8 | "):
            assert line in said
    folder = tmp_path / "runs-smoke" / "made"
    assert (folder / "nodes.png").exists() and len(list(folder.glob("cases/*/graph.png"))) == 2


def test_streaming_smoke(scenario, tmp_path):
    scenario("streaming")
    (row,) = json.loads((tmp_path / "runs" / "streaming.json").read_text())
    assert row["images"] == 900 and row["peak_mib"] > row["loaded_mib"] > 0


def test_tables_smoke(scenario, tmp_path):
    said = scenario("tables", "--data", "wine", "diabetes")
    for line in ("evolved | boosting | accuracy | ", "k-medoids | linear | ", "frepo, linear | mlp | r_squared | "):
        assert line in said
    assert (tmp_path / "runs" / "wine" / "evolved-0.csv").read_text().startswith("alcohol,malic_acid,")
    found = json.loads((tmp_path / "runs" / "diabetes" / "finding.json").read_text())
    assert "stratified | linear | r_squared" in found


def test_recommender_smoke(scenario, tmp_path):
    said = scenario("recommender")
    for label in ("whole", "random", "head_users", "distill_cf"):
        assert f"{label} | infinite autoencoder | ndcg | " in said and f"{label} | EASE | propensity | " in said
    assert (tmp_path / "runs" / "distill_cf-0.safetensors").exists()


def test_audio_smoke(scenario, tmp_path):
    said = scenario("audio")
    for line in ("dm | convnet | accuracy | ", "whole | convnet | accuracy | ", "idc | convnet | accuracy | "):
        assert line in said
    assert (tmp_path / "runs" / "signal" / "frepo-0" / "high_0.wav").exists()


def test_pairs_smoke(scenario, tmp_path):
    said = scenario("pairs")
    for label in ("whole", "random", "matched"):
        assert f"{label} | contrastive | recall(k=1, back=false) | " in said
        assert f"{label} | contrastive | recall(k=5, back=true) | " in said


def test_medical_smoke(scenario, tmp_path):
    from ddcore import DistilledSet

    said = scenario("medical")
    assert "frepo | convnet | balanced_accuracy | " in said and "random | copies | 100.0" in said
    assert "test images | sureness | " in said
    assert "dm | yes | " in said or "dm | none found | " in said
    held = DistilledSet.load(tmp_path / "runs" / "dm-0.safetensors")
    assert len(held.facts["not_covered"]) == 4 and len(held.warnings) == 3


def test_pretrained_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("pretrained")
        for label in ("whole", "random", "herding", "matched"):
            assert f"{label} | probe, other backbone | " in said and f"{label} | fine-tuned for 10 steps | " in said
    assert (tmp_path / "runs" / "own-0.safetensors").exists()


def test_series_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("series")
        assert re.search(r"^persistence \| 0\.\d", said, re.MULTILINE)
        for label in ("whole", "random", "k-means", "frepo"):
            assert f"{label} | linear | r_squared" in said and f"{label} | convnet | " in said


def test_windows_of_a_series_do_not_look_over_the_cut(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import series

    values = np.arange(300.0)
    data = series.forecasting("made", values)
    scaled = (values - values[:210].mean()) / values[:210].std()
    assert (len(data.train), len(data.test)) == (210 - 48, 90 - 48)
    last, first = data.train.take(torch.tensor([161])), data.test.take(torch.tensor([0]))
    assert float(last.targets) == pytest.approx(scaled[209]) and float(last.inputs[0, 0, -1]) == pytest.approx(
        scaled[208]
    )
    assert float(first.inputs[0, 0, 0]) == pytest.approx(scaled[210])
    assert float(first.targets) == pytest.approx(scaled[258])
    line = series.persistence(data)
    assert line == pytest.approx(1 - (scaled[1] - scaled[0]) ** 2 / scaled[258:].var(), abs=1e-4)


def test_video_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("video", "--ipc", "1")
        for label in ("whole", "random", "herding", "dm", "still"):
            assert f"{label} | " in said
    from PIL import Image

    with Image.open(tmp_path / "runs" / "still-0" / "right_0.gif") as shown:
        assert shown.n_frames > 1 and shown.size == (96, 96), "Pillow makes one frame of equal ones"
        assert shown.convert("L").getextrema()[1] > 100


def test_digits_move_one_way(monkeypatch):
    monkeypatch.syspath_prepend(str(SCENARIOS[0].parent))
    import video

    found, ways = video.moving(tiny_images(8).train, 8, 0)
    assert 0.5 < found.max() <= 1
    for item, way in zip(found[:, 0], ways.tolist(), strict=True):
        step = [*video.WAYS.values()][way]
        for before, after in itertools.pairwise(item):
            assert torch.equal(before.roll(step, (0, 1)), after) and not torch.equal(before, after)


def test_explain_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("explain")
        assert "change of the score without influential | " in said and "accuracy, herding | " in said
    assert "Over 3 test images" in said
    (picture,) = (tmp_path / "runs" / "cases").glob("explain-0-*/explained.png")
    assert picture.stat().st_size > 3000


def test_textures_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("textures")
        for line in (
            "texture | digits | 4 | convnet",
            "whole | digits | 4 | convnet",
            "seam | texture | ",
            "seam | dm | ",
        ):
            assert line in said
    assert len(list((tmp_path / "runs").glob("?-0.png"))) == 10


def test_scientific_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("scientific")
        for line in ("frepo | committee | coverage | ", "k-means | convnet | root_error | ", "whole | committee | "):
            assert line in said


def test_outfits_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("outfits")
        for label in ("whole", "random", "herding", "dm", "frepo"):
            assert f"{label} | pair_score | accuracy | " in said and f"{label} | pair_score | auc | " in said


def test_design_smoke(scenario, tmp_path):
    for _ in range(2):
        said = scenario("design")
        for label in ("T", "random", "both", "backward", "forward"):
            assert f"{label} | best | " in said and f"{label} | mean | " in said
