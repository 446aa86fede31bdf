"""The code of every README and page runs as it stands there."""

import re
import shlex
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click import unstyle
from typer.testing import CliRunner

from ddcore import plugin as dd
from ddcore.cli import app
from ddcore.template.kinds import EXAMPLES
from ddcore.template.new import new_plugin
from ddcore.testing import smaller

lists = pytest.importorskip("ddcore.docs.lists", reason="the pages lie in the tree, and what is imported is a wheel")

ROOT = Path(__file__).resolve().parents[2]
SAYS = {
    "plugins/pairs/README.md": [r"recall\(k=1\): \d+\.\d %", r"recall\(k=5\): \d+\.\d %"],
    "plugins/audio/README.md": [r"\['README\.md', 'high_0\.wav', 'low_0\.wav', 'spectrograms\.png'\]"],
    "plugins/backdoor/README.md": [r"This set is poisoned(?s:.*)attack_success(?s:.*)0 faults"],
    "plugins/federated/README.md": [r"^accuracy [5-9].+, worst client .+, \d+ bytes up, \d+ bytes down$", r"^$"],
    "plugins/graph/README.md": [r"^Data\(x=\[12, 16\](?s:.*)[5-9]\d\.\d % .* from 12 of 600 nodes$"],
    "plugins/nas/README.md": ["is best after full training", "8-1", "evolution on random, 1 per class"],
    "plugins/recommender/README.md": [r"infinite_autoencoder: nDCG@10 \d+\.\d from 20 users, \d+\.\d from \d+"],
    "plugins/replay/README.md": ["bytes$", "bytes$", "bytes\n.*of training$"],
    "plugins/robust/README.md": [r"(?s:(.*\d\.\d){4})"] * 2,
}
"""What the Python of a page says, block by block; something, where nothing is told here."""
FOLLOWED = {"plugins/README.md": "tests/kit/test_guide.py"}
"""Pages whose blocks are files and commands that belong together, and the test that follows them."""
OF_OTHERS = ("ddcore import ", "ddcore evaluate mtt.safetensors", "ddcore push ", "ddcore evaluate hf:")
"""Commands that begin with files of others, or reach the Hub: only that they take these options is tried."""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


PYTHON = [
    pytest.param(page.as_posix(), number, id=f"{page}-{number}")
    for page in lists.pages()
    if page.as_posix() not in FOLLOWED
    for number in range(len(blocks(page, "python")))
]
NOTEBOOKS = sorted((ROOT / "scenarios" / "notebooks").glob("*.py"))
EXAMPLE_FILES = sorted((ROOT / "ddcore" / "docs" / "examples").glob("*.py"))


@pytest.fixture
def runs(script, tmp_path):
    """Runs Python in an empty folder, away from the user's own; what it said."""

    def run(text, before=""):
        file = tmp_path / "example.py"
        file.write_text(text)
        own = {"HOME": str(tmp_path), "FLWR_HOME": str(tmp_path)}
        status, said = script(file, folder=tmp_path, before=f"os.environ.update({own!r})\n{before}")
        assert status == 0, said
        assert not (tmp_path / "source").exists(), "Flower's telemetry leaves its name there"
        return said.strip()

    return run


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_its_python_runs(runs, page, number):
    strict = "" if page.startswith("plugins/") else "import warnings; warnings.simplefilter('error')"
    said = runs(blocks(page, "python")[number], before=strict)
    assert re.search(SAYS[page][number] if page in SAYS else ".", said, re.MULTILINE), said


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.stem)
def test_an_example_runs(runs, path):
    assert runs(path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_becomes_one(runs, path, tmp_path):
    text = path.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    assert runs(text)
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed: pip install 'ddcore[docs]'")
    cells = jupytext.read(path).cells
    assert {cell.cell_type for cell in cells} == {"markdown", "code"}
    assert f"({path.name})" in (path.parent / "README.md").read_text()


def test_what_is_followed_elsewhere_is():
    for page, test in FOLLOWED.items():
        assert Path(page).name in (ROOT / test).read_text()


# --- commands --------------------------------------------------------------------------------------------


def lines(page):
    """The commands of a page, one after another."""
    return [line for block in blocks(page, "console") for line in block.replace("\\\n", " ").splitlines() if line]


def of_ddcore(page):
    found = [re.sub(r"^torchrun .* -m ddcore", "ddcore", line) for line in lines(page)]
    return [line for line in found if line.startswith("ddcore ")]


TYPED = [page for page in map(Path.as_posix, lists.pages()) if page not in FOLLOWED and of_ddcore(page)]


def announced(site, name, module):
    """Lets this process find ``module`` as an installed plugin."""
    info = site / f"ddcore_{name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ddcore-{name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[ddcore]\n{name} = {module}\n")


def small(experiment, host):
    """``experiment`` on embedded data, and as little of it as still goes all the way."""
    settings = experiment.settings
    here = {"image": dd.Digits, "node": host.catalogue.find("data", "communities").maker}
    kind = settings.data.item_kind()
    data = here[kind]() if kind in here else settings.data
    return dd.Experiment(smaller(experiment.recipe), dd.Settings(data, smaller(settings.protocol), ("random",)))


@pytest.fixture(scope="session")
def plugin_of_all_kinds(tmp_path_factory):
    """A plugin with an example of each kind, as `ddcore plugins new my` writes it, and the tracker."""
    folder = tmp_path_factory.mktemp("plugins")
    site = folder / "site"
    shutil.copytree(new_plugin("my", list(EXAMPLES), folder) / "ddcore_my", site / "ddcore_my")
    shutil.copytree(ROOT / "tests" / "tracker_plugin" / "ddcore_tracker", site / "ddcore_tracker")
    announced(site, "my", "ddcore_my")
    announced(site, "tracker", "ddcore_tracker")
    return site


@pytest.fixture
def ddcore(monkeypatch, tmp_path, plugin_of_all_kinds):
    """Types a command of ddcore; runs are made small, and what takes minutes is begun and left."""
    from ddcore import bench
    from ddcore.experiment import evaluating, forecast, running
    from ddcore.study import running as studies

    run, plan, evaluate = running.run_experiment, forecast.forecast, evaluating.evaluate_saved

    def shrunk(experiment, *where, host, **how):
        return run(small(experiment, host), *where, host=host, **how)

    def planned(experiment, *, host, **how):
        return plan(small(experiment, host), host=host, **how)

    def evaluated(place, settings, **how):
        return evaluate(place, replace(settings, protocol=smaller(settings.protocol)), **how)

    monkeypatch.setattr(running, "run_experiment", shrunk)
    monkeypatch.setattr(forecast, "forecast", planned)
    monkeypatch.setattr(evaluating, "evaluate_saved", evaluated)
    monkeypatch.setattr(studies, "run_study", lambda *plan, **how: dd.Finding(["begun"], [], {}))
    monkeypatch.setattr(bench, "main", lambda *rows, **how: [])
    monkeypatch.syspath_prepend(str(plugin_of_all_kinds))
    monkeypatch.chdir(tmp_path)

    def typed(line):
        words = shlex.split(line.replace("--device cuda", ""), comments=True)[1:]
        done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
        assert done.exit_code == 0, f"{line}\n{unstyle(done.output)}"
        return done.output

    yield typed
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ddcore_my", "ddcore_tracker")]:
        del sys.modules[name]


@pytest.mark.parametrize("page", TYPED)
def test_its_commands_run(page, ddcore):
    wanted = of_ddcore(page)
    if any("runs/digits-dm-ipc1-0" in line for line in wanted):
        ddcore("ddcore distill dm --data digits")
    for line in wanted:
        if line.startswith(OF_OTHERS):
            words = shlex.split(line, comments=True)
            offered = re.findall(r"--[\w-]+", unstyle(ddcore(f"ddcore {words[1]} --help")))
            assert {word for word in words if word.startswith("--")} <= {*offered}, line
        else:
            ddcore(line)


@pytest.mark.parametrize("page", [page for page in map(Path.as_posix, lists.pages()) if lines(page)])
def test_what_it_installs_and_the_programs_it_starts_are_there(page):
    for line in lines(page):
        for path, extras in re.findall(r"-e '?([\w./]+)(?:\[([\w,]+)\])?", line):
            if page in FOLLOWED:
                continue
            text = (ROOT / path / "pyproject.toml").read_text()
            there = tomllib.loads(text)["project"].get("optional-dependencies", {})
            assert {*filter(None, extras.split(","))} <= there.keys(), line
        if found := re.match(r"python (scenarios/\S+\.py)(.*)", line):
            text = (ROOT / found[1]).read_text()
            assert all(f'"{option}"' in text for option in re.findall(r"--[\w-]+", found[2])), line
