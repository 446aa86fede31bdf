"""The command line as a person uses it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ddcore
from ddcore import Experiment, Folder, Host, Recipe, RecipeRefused, load, load_distilled, recipe
from ddcore.cli import app
from ddcore.cli.base import show
from ddcore.recipes import METHODS

TINY = [
    *("--iterations", "2", "--repeats", "1", "--baselines", "none", "--networks", "mlp"),
    *("--set", "network.width=4", "--set", "network.depth=2", "--set", "objective.real=4"),
]


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("runs") / f"dm-{seed}"
        done = call("distill", "dm", "--seed", seed, "--out", folder, *TINY)
        assert done.exit_code == 0, done.output
        folders.append(folder)
    return folders


def test_a_table_of_short_entries_loses_none_on_a_narrow_terminal(capsys):
    head = ["exchange", *(f"measure {i}" for i in range(12))]
    label = "fedavg, refined by dynafed, 10 per class"
    show(head, [[label, *(f"{i}{i}.0 ± 0.{i}" for i in range(12))]])
    said = capsys.readouterr().out
    assert all(name in said for name in head) and label in said and "1111.0 ± 0.11" in said


def test_distil_shows_its_progress_and_its_table(tmp_path):
    done = call("distill", "dc", "--out", tmp_path / "run", *TINY)
    assert done.exit_code == 0, done.output
    assert "distilling, loss" in done.stderr
    assert "2/2" in done.stderr
    assert "ETA" in done.stderr
    assert "dc (distilled)" in done.stdout
    assert "10250 bytes" in done.stdout


def test_evaluate_on_other_networks(runs, tmp_path):
    words = ["--networks", "mlp(width=8),convnet(width=4,depth=1)", "--repeats", 2, "--baselines", "random"]
    done = call("evaluate", runs[0], *words)
    assert done.exit_code == 0, done.output
    found = json.loads((runs[0] / "evaluation-quick.json").read_text())
    assert found["scores"]["accuracy"].keys() == {"mlp", "convnet"}
    assert len(found["baselines"]["random"]["accuracy"]["convnet"]["values"]) == 2
    assert "convnet" in done.stdout


def test_options_and_set_reach_what_the_recipe_file_reaches(runs, tmp_path):
    words = ["--networks", "mlp(width=8),mlp(width=16)", "--measures", "accuracy,calibration_error(bins=5)"]
    words += ["--set", "protocol.schedule=half", "--set", "protocol.steps=3", "--set", "experiment.validation=0.2"]
    words += ["--set", "experiment.baselines=['random']", "--repeats", 2]
    done = call("distill", "dm", "--out", tmp_path / "run", *TINY[:2], *TINY[8:], *words)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(found["scores"]) == ["accuracy", "calibration_error"]
    assert list(found["scores"]["accuracy"]) == ["mlp(width=8)", "mlp(width=16)"]
    assert found["baselines"]["random"].keys() == found["scores"].keys() == found["measures"].keys()
    assert (found["chosen_by"], found["measures"]["calibration_error"]["higher_is_better"]) == ("accuracy", False)
    assert found["protocol"]["schedule"] == {"name": "half"}
    assert any("guo2017calibration" in cite for cite in found["cites"])
    assert "calibration error (%, lower is better)" in (tmp_path / "run" / "report.md").read_text()
    text = (tmp_path / "run" / "recipe.toml").read_text()
    experiment = Experiment.from_toml(text, Host().catalogue)
    assert experiment.settings.validation == 0.2 and experiment.settings.protocol.steps == 3
    again = call("run", tmp_path / "run" / "recipe.toml", "--out", tmp_path / "again", "--set", "protocol.steps=2")
    assert again.exit_code == 0, again.output
    changed = call("evaluate", tmp_path / "run", "--set", "protocol.steps=2", "--json", tmp_path / "x.json")
    assert changed.exit_code == 0, changed.output
    one, two = (json.loads(p.read_text()) for p in (tmp_path / "again" / "metrics.json", tmp_path / "x.json"))
    assert one["scores"] == two["scores"] != found["scores"]
    refused = call("evaluate", tmp_path / "run", "--set", "objective.real=3")
    assert refused.exit_code == 2 and "its recipe cannot change" in refused.stderr


def test_nets_that_diverge_are_said_to_and_the_files_stay_valid(tmp_path):
    words = ["--set", "protocol.optimiser=sgd", "--set", "protocol.lr=[1e30]", "--set", "protocol.steps=5"]
    words += ["--networks", "mlp", "--repeats", 2, "--baselines", "none"]
    done = call("distill", "random", "--out", tmp_path / "run", *words)
    assert done.exit_code == 0, done.output
    assert "diverged 2 of 2" in done.stdout
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["scores"]["accuracy"]["mlp"]["values"] == [None, None]
    shown = call("compare", tmp_path / "run", "--out", tmp_path)
    assert shown.exit_code == 0 and "diverged 2 of 2" in shown.stdout


def test_python_dash_m_runs_it_and_help_needs_no_torch():
    """What is imported, not how long it takes."""
    probe = (
        "import sys, typer.testing\nfrom ddcore.cli import app\n"
        "done = typer.testing.CliRunner().invoke(app, sys.argv[1:])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert not {'torch', 'matplotlib', 'sklearn', 'numpy'} & {*sys.modules}, sorted(sys.modules)\n"
    )
    for words in (["--help"], ["list", "methods", "--help"], ["distill", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-m", "ddcore", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "distill" in done.stdout


def test_list_tells_families_and_first_sentences():
    rows = json.loads(call("list", "methods", "--json").stdout)
    families = {row["name"]: row["family"] for row in rows}
    assert (families["dm"], families["mtt"], families["dc"]) == ("distribution", "trajectory", "gradient")
    alone = json.loads(call("list", "methods", "--family", "gradient", "--json").stdout)
    assert {row["name"] for row in alone} == {name for name, family in families.items() if family == "gradient"}
    (mtt,) = (row for row in json.loads(call("list", "protocols", "--json").stdout) if row["name"] == "mtt")
    assert (
        mtt == {"name": "mtt", "from": "ddcore", "says": mtt["says"]} and "step size that the set brings" in mtt["says"]
    )
    kinds = {row["kind"] for row in json.loads(call("list", "parts", "--family", "schedule", "--json").stdout)}
    assert kinds == {"schedule"}


def test_evaluate_a_bare_file_gives_the_scores_of_its_folder(runs, tmp_path):
    shutil.copy(runs[0] / "distilled.safetensors", tmp_path / "s.safetensors")
    words = ["--networks", "mlp", "--repeats", 1, "--baselines", "none"]
    done = call("evaluate", tmp_path / "s.safetensors", "--data", "digits", *words)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "s-evaluation-quick.json").read_text())
    assert found["scores"]["accuracy"] == json.loads((runs[0] / "metrics.json").read_text())["scores"]["accuracy"]
    assert call("evaluate", runs[0], *words, "--json", tmp_path / "again.json").exit_code == 0
    assert json.loads((tmp_path / "again.json").read_text())["scores"]["accuracy"] == found["scores"]["accuracy"]


def test_evaluate_refuses_data_of_another_shape(runs, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    done = call("evaluate", runs[0], "--data", tmp_path / "x.npz")
    assert done.exit_code == 2
    assert "Name the data that it was made for" in done.stderr
    assert not (runs[0] / "evaluation-own.json").exists()


def test_a_set_never_chooses_a_path(runs, tmp_path, monkeypatch):
    """Its card names the data, and may be a stranger's."""
    monkeypatch.chdir(tmp_path)
    made = load_distilled(runs[0] / "distilled.safetensors")
    np.savez("x.npz", images=np.zeros((40, 16, 16), np.uint8), labels=np.arange(40) % 10)
    Path("woods").mkdir()
    for name in ("x.npz", "./x.npz", "woods", str(tmp_path / "woods"), "npz", "image_folder", "digts"):
        path = replace(made, data=replace(made.data, name=name)).save(tmp_path / "s.safetensors")
        done = call("evaluate", path, "--networks", "mlp")
        assert done.exit_code == 2
        assert f"made from {name!r}, which is no data set that ddcore finds by its name. Say with --data" in done.stderr
    recipe = Recipe.from_toml(made.recipe, Host().catalogue)
    reading = replace(recipe, preprocess=ddcore.plugin.ZCA(public="elsewhere")).to_toml()
    done = call("evaluate", replace(made, recipe=reading).save(tmp_path / "s.safetensors"), "--networks", "mlp")
    assert done.exit_code == 2
    assert "has a file of its choice read (preprocess.public), which a set that stands alone may not" in done.stderr
    named = made.save(tmp_path / "s.safetensors")
    assert call("evaluate", named, "--networks", "mlp", "--repeats", 1, "--baselines", "none").exit_code == 0


@pytest.mark.parametrize("command", [["distill", "dm"], ["evaluate", "s.safetensors"], ["study", "grid"]])
def test_a_root_beside_a_path_is_refused(command):
    done = call(*command, "--data", "x.npz", "--root", "elsewhere")
    assert done.exit_code == 2
    assert "The data x.npz are a path, which says where they lie, and so does --root elsewhere" in done.stderr


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([*"1032456789"], "digits_too has its classes in another order: class 0 is '1' there and '0' in the set"),
        ([*"abcdefghij"], "digits_too has its classes by other names: class 0 is 'a' there and '0' in the set"),
    ],
)
def test_a_set_is_measured_on_its_own_classes(names, sentence, runs, tmp_path, digits):
    data = {}
    for split, store in (("train", digits.train), ("test", digits.test)):
        data |= {f"{split}_images": store.inputs[:, 0].numpy(), f"{split}_labels": store.targets.numpy()}
    np.savez(tmp_path / "digits_too.npz", **data, class_names=np.array(names))
    words = ["--data", tmp_path / "digits_too.npz", "--networks", "mlp", "--repeats", 1, "--baselines", "none"]
    done = call("evaluate", runs[0], *words)
    assert done.exit_code == 2
    assert sentence in done.stderr and "--by-number" in done.stderr
    assert call("evaluate", runs[0], *words, "--by-number").exit_code == 0
    other = replace(digits, card=replace(digits.card, name="digits_too", class_names=tuple(names)))
    with pytest.raises(RecipeRefused, match="digits_too has its classes"):
        ddcore.evaluate(load_distilled(runs[0] / "distilled.safetensors"), other, ddcore.Protocol(steps=1))


def test_data_of_another_content_are_told(runs, tmp_path):
    made = load_distilled(runs[0] / "distilled.safetensors")
    words = ["--networks", "mlp", "--repeats", 1, "--baselines", "none", "--json", tmp_path / "found.json"]
    said = "The training items of digits are of another content than those that the set was made from"
    for content, there in (("0" * 64, True), (load("digits").train.content, False)):
        done = call("evaluate", made.with_facts(fingerprint=content).save(tmp_path / "s.safetensors"), *words)
        assert done.exit_code == 0, done.output
        assert (said in done.stdout) == there
        assert len(json.loads((tmp_path / "found.json").read_text())["told"]) == there


def test_run_takes_a_recipe_file_and_what_overrides_it(runs, tmp_path):
    done = call("run", runs[0] / "recipe.toml", "--set", "seed=1", "--out", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "recipe.toml").read_text() == (runs[1] / "recipe.toml").read_text()
    assert load_distilled(Folder(tmp_path / "again").distilled).inputs.equal(
        load_distilled(Folder(runs[1]).distilled).inputs
    )


def test_run_takes_a_recipe_without_an_experiment_when_data_are_named(runs, tmp_path):
    bare = tmp_path / "bare.toml"
    bare.write_text((runs[0] / "recipe.toml").read_text().partition("[experiment")[0])
    refused = call("run", bare)
    assert refused.exit_code == 2
    assert "names no data" in refused.stderr
    words = ["--data", "digits", "--networks", "mlp", "--repeats", 1, "--baselines", "none"]
    done = call("run", bare, *words, "--out", tmp_path / "bare")
    assert done.exit_code == 0, done.output
    assert "dm (distilled)" in done.stdout


def test_a_folder_of_images_is_distilled_from_where_it_lies(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("ash", "birch"):
        (tmp_path / "woods" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 255, (16 + i, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "woods" / name / f"{i}.{'jpg' if i % 2 else 'png'}")
    monkeypatch.chdir(tmp_path)
    refused = call("distill", "dm", "--data", "woods", *TINY)
    assert refused.exit_code == 2
    assert "Give the side that all images are to be resized to: --size" in refused.stderr
    done = call("distill", "dm", "--data", "woods", "--size", "8", *TINY)
    assert done.exit_code == 0, done.output
    recipe = tmp_path / "runs" / "woods-dm-ipc1-0" / "recipe.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("size = 8\n", "size = 8\nmemory = 0\n").replace("memory = 2147483648\n", ""))
    done = call("run", recipe, "--out", "streamed")
    assert done.exit_code == 0, done.output
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (recipe.parent, tmp_path / "streamed")]
    assert metrics[0]["scores"]["accuracy"] == metrics[1]["scores"]["accuracy"]
    assert "memory = 0" in (tmp_path / "streamed" / "recipe.toml").read_text()


def test_the_installed_command_speaks_on_the_right_stream(tmp_path):
    command = [shutil.which("ddcore", path=str(Path(sys.executable).parent)) or "ddcore"]

    def spoken(*words):
        return subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    short = ["--set", "protocol.steps=3"]
    done = spoken("distill", "random", "--networks", "mlp", "--repeats", "1", "--baselines", "none", *short)
    assert done.returncode == 0, done.stderr
    assert "random (distilled)" in done.stdout
    assert "training mlp: 3/3" in done.stderr
    assert (tmp_path / "runs" / "digits-random-ipc1-0" / "report.md").exists()
    refused = spoken("cite", "dn")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: There is no method named 'dn'.")


def test_compare_writes_table_and_plot(runs, tmp_path):
    done = call("compare", *runs, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "| dm | digits | 1 | mlp |" in (tmp_path / "compare.md").read_text()
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "(2)" in done.stdout


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", {"absolute", *(method.__name__ for method in METHODS)}),
        ("networks", {"convnet", "mlp", "lenet", "alexnet", "vgg11", "resnet18", "pretrained", "tiny"}),
        (
            "data",
            {
                *("digits", "mnist", "fashion", "cifar10", "cifar100", "svhn"),
                *("image_folder", "npz", "scikit_table", "table"),
            },
        ),
    ],
)
def test_list(what, names):
    done = call("list", what, "--json")
    rows = json.loads(done.stdout)
    mine = {row["name"] for row in rows if row.get("from", row.get("distribution")) in ("ddcore", "ddcore-example")}
    assert mine == names
    assert call("list", what).exit_code == 0
    assert all(row["says"] for row in rows)


def test_list_with_a_name_tells_all_of_one():
    (method,) = json.loads(call("list", "methods", "dm", "--json").stdout)
    assert Recipe.from_toml(method["recipe"], Host().catalogue, "told") == recipe("dm")
    assert "Zhao and Bilen" in method["says"] and "ipc = 1" in call("list", "methods", "dm").stdout
    (part,) = json.loads(call("list", "parts", "bptt", "--json").stdout)
    assert {"steps": ("int", "15")}.items() <= {f["field"]: (f["type"], f["default"]) for f in part["fields"]}.items()
    (taught,) = json.loads(call("list", "parts", "taught", "--json").stdout)
    assert {"type": "fit | none", "default": "fit"}.items() <= next(
        f for f in taught["fields"] if f["field"] == "fit"
    ).items()
    (sgd,) = json.loads(call("list", "parts", "sgd", "--json").stdout)
    momentum = {"field": "momentum", "type": "float", "default": "0.9", "bounds": "at least 0 and below 1"}
    assert momentum.items() <= sgd["fields"][0].items() and sgd["fields"][0]["meaning"]
    assert json.loads(call("list", "protocols", "dd", "--json").stdout)[0]["name"] == "dd"
    done = call("list", "parts", "pixel")
    assert done.exit_code == 2 and "Did you mean pixels" in done.stderr


def test_list_parts_names_kind_and_distribution():
    rows = json.loads(call("list", "parts", "--json").stdout)
    assert {"kind": "view", "name": "label_noise", "from": "ddcore-example"}.items() <= next(
        row for row in rows if row["name"] == "label_noise"
    ).items()


def test_cite_prints_the_method_and_its_parts():
    text = call("cite", "dsa").stdout
    assert text.count("@inproceedings{zhao2021dsa,") == 1
    assert "gidaris2018dynamic" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["distill", "dn"], "no method named 'dn'. Did you mean"),
        (["distill", "dm", "--set", "objectiv.real=3"], "no field of recipe named 'objectiv'. Did you mean objective?"),
        (["distill", "dm", "--set", "update.lr=fast"], "update.lr = 'fast' is not usable"),
        (["distill", "dm", "--data", "digts"], "no data named 'digts'. Did you mean digits"),
        (["distill", "dm", "--data", "none.npz"], "There is no file"),
        (["distill", "dm", "--data", "digits", "--root", "here"], "The data digits take no root: leave it out."),
        (
            ["distill", "dm", "--data", "mnist", "--root", "nowhere"],
            "nowhere (train-images-idx3-ubyte is missing). Name its folder with --root",
        ),
        (["distill", "dm", "--ipc", "0"], "ipc = 0: it must be at least 1"),
        (["distill", "dm", "--ipc", "500"], "needs more real images than class"),
        (
            ["distill", "dm", "--networks", "convnet(widht=3)"],
            "There is no field of protocol.networks[0] named 'widht'",
        ),
        (["distill", "dm", "--networks", "convnet(width=3"], "--networks: the brackets of 'convnet(width=3' do not"),
        (["distill", "dm", "--networks", "mlp,mlp"], "networks holds the same one twice"),
        (["distill", "dm", "--networks", "convnet(depth=6)"], "take network.depth = 4 or less"),
        (["distill", "dm", "--measures", "acuracy"], "no measure named 'acuracy'. Did you mean accuracy"),
        (["distill", "dm", "--lr", "fast"], "--lr fast: write one number, or several with commas"),
        (["distill", "dm", "--lr", "-1"], "protocol.lr = -1.0: it must be above 0"),
        (["distill", "dm", "--set", "protocol.repeat=3"], "no field of protocol named 'repeat'. Did you mean repeats"),
        (["distill", "dm", "--set", "experiment.basline=3"], "no field of settings named 'basline'"),
        (["distill", "dm", "--set", "update.schedule=cosin"], "no schedule named 'cosin'. Did you mean cosine"),
        (["list", "methods", "--family", "gradent"], "no family of methods named 'gradent'. Did you mean gradient"),
        (["list", "data", "--family", "x"], "--family is for methods and parts"),
        (["distill", "dm", "--networks", "convnett"], "no network named 'convnett'. Did you mean convnet"),
        (["distill", "dm", "--protocol", "quik"], "no protocol named 'quik'. Did you mean quick"),
        (["distill", "dm", "--baselines", "randm"], "no baseline named 'randm'. Did you mean random"),
        (["distill", "dm", "--validation", "1.5"], "validation = 1.5: it must be above 0 and below 1"),
        (["distill", "dm", "--iterations", "1", "--lr", "0.1,0.2"], "wants a validation split of T to choose on"),
        (["run", "nowhere.toml"], "There is no recipe file nowhere.toml"),
        (["resume", "nowhere"], "nowhere holds no experiment"),
        (["evaluate", "nowhere"], "nowhere holds no experiment"),
        (["compare", "nowhere"], "nowhere holds no finished experiment"),
        (["cite", "dn"], "no method named 'dn'"),
        (["bench", "dn"], "no benchmark named 'dn'"),
        (["distill", "dm", "--repeats", "0"], "repeats = 0: it must be at least 1"),
        (["distill", "dm", "--set", "seed"], "--set seed: write PATH=VALUE"),
        (["distill", "dm", "--device", "cuda:99"], "The device 'cuda:99' cannot be used"),
        (["distill", "dm", "--out", __file__], "cannot be used: "),
        (["distill", "random", "--iterations", "3"], "no setting of random named 'iterations'. Known: ipc"),
        (["distill", "recipe.toml"], "is a recipe file, not a method: `ddcore run recipe.toml`"),
        (["run", sys.executable], "is not UTF-8"),
        (["distill", "dm", "--size", "4"], "The data digits take no size: leave it out."),
        (["distill", "dm", "--baselines", "random,random"], "baselines holds the same one twice: random, random"),
        (["distill", "dm", "--checkpoint-seconds", "nan"], "checkpoint_seconds = nan: it must be at least 0"),
        (["distill", "dm", "--device", "meta"], "The device 'meta' cannot be used: "),
        (["distill", "dm", "--set", "iterations=-3"], "iterations = -3: it must be at least 0"),
        (["evaluate", "nowhere.safetensors"], "There is no file nowhere.safetensors"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_mistake_has_one_sentence_and_leaves_nothing_behind(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_is_not_overwritten(runs):
    before = Folder(runs[0]).recipe.read_bytes()
    done = call("distill", "dc", "--out", runs[0], *TINY)
    assert done.exit_code == 2
    assert "already holds an experiment" in done.stderr
    assert Folder(runs[0]).recipe.read_bytes() == before


def test_help_teaches_with_an_example():
    for command in ("distill", "evaluate", "run", "resume", "compare", "list", "cite", "bench", "export", "import"):
        done = call(command, "--help")
        assert done.exit_code == 0
        assert f"ddcore {command}" in done.stdout


TEXTS = ["--data", "--root", "--protocol", "--networks", "--measures", "--lr", "--baselines"]


@pytest.mark.parametrize("option", TEXTS)
def test_an_empty_text_is_no_choice(option, tmp_path):
    done = call("distill", "random", option, "", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "is empty" in done.stderr and not (tmp_path / "run").exists()
