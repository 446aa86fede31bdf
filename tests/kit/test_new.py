"""`ddcore plugins new`: what it writes installs, is listed, has the right types and passes its own tests."""

import itertools
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddcore import RecipeRefused, UnknownName
from ddcore.cli import app
from ddcore.template.kinds import EXAMPLES
from ddcore.template.new import new_plugin
from ddcore.testing.distribution import inspect_folder

ROOT = Path(__file__).resolve().parents[2]
ALL = list(EXAMPLES)


def program(*words, folder):
    # A type checker does not follow the import hook of an editable install: it is told where ddcore is.
    told = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, *map(str, words)]
    done = subprocess.run(words, cwd=folder, env=told, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def forgotten():
    """Modules of new plugins are imported anew by the next test."""
    yield
    for name in [name for name in sys.modules if name.startswith("ddcore_new_")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A plugin with an example of every kind."""
    return new_plugin("new_whole", ALL, tmp_path_factory.mktemp("whole"))


def test_its_own_tests_pass(whole):
    status, said = program("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", folder=whole)
    assert status == 0, said
    assert re.search(rf"{len(ALL) + 2} passed", said)


def test_it_has_the_right_style_and_types(whole):
    for words in (["ruff", "check"], ["ruff", "format", "--check", "--line-length", "120"]):
        assert program("-m", *words, "--no-cache", ".", folder=whole)[0] == 0
    status, said = program("-m", "pyright", "--pythonpath", sys.executable, folder=whole)
    assert status == 0, said


def test_it_installs_and_is_listed_with_all_that_it_brings(whole, tmp_path, monkeypatch, forgotten):
    target = tmp_path / "site"
    words = ("--quiet", "--no-deps", "--no-build-isolation", "--target", target, whole)
    status, said = program("-m", "pip", "install", *words, folder=tmp_path)
    assert status == 0, said
    monkeypatch.syspath_prepend(str(target))
    listed = CliRunner().invoke(app, ["plugins", "list", "--json"])
    assert listed.exit_code == 0
    (row,) = [row for row in __import__("json").loads(listed.stdout) if row["name"] == "new_whole"]
    assert row["parts"].keys() == {*ALL} - {"hook"}
    assert row["hooks"] == ["ddcore_parts", "ddcore_step"]
    assert (row["status"], row["api"]) == ("can run", ">=1.0,<2")


@pytest.mark.parametrize("kind", ALL)
def test_one_kind_alone_keeps_the_rules_before_it_is_installed(kind, tmp_path, forgotten):
    found = inspect_folder(new_plugin(f"new_{kind}", [kind], tmp_path))
    assert found.faults == []
    assert len(found.untried) == (kind == "study"), "its own tests hold a study to check_study"


def test_two_new_plugins_do_not_claim_one_name(tmp_path, forgotten):
    names = [
        set(re.findall(r"^(?:class|def) (\w+)", path.read_text(), re.MULTILINE))
        for name in ("new_one", "new_two")
        for path in (new_plugin(name, ALL, tmp_path) / f"ddcore_{name}").glob("__init__.py")
    ]
    brought = [
        re.search(r"return \[(.*?)\]", (tmp_path / f"ddcore-new-{n}/ddcore_new_{n}/__init__.py").read_text(), re.DOTALL)
        for n in ("one", "two")
    ]
    listed = [set(re.findall(r"\w+", match[1])) for match in brought if match]
    assert names and not listed[0] & listed[1]


def test_the_wheel_of_ddcore_holds_the_templates(tmp_path):
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
    status, said = program("-m", "pip", *words, folder=tmp_path)
    assert status == 0, said
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    own = {
        f"ddcore/template/files/{path.name}" for path in (ROOT / "ddcore/template/files").iterdir() if path.is_file()
    }
    assert own <= held
    assert {"ddcore/testing/__init__.pyi", "ddcore/testing/fixtures.py"} <= held


@pytest.mark.parametrize(
    ("name", "kinds", "error", "sentence"),
    [
        ("Fourier", ["objective"], RecipeRefused, "'Fourier' cannot be the name of a plugin: small letters"),
        ("my-gate", ["gate"], RecipeRefused, "cannot be the name of a plugin"),
        ("2fast", ["gate"], RecipeRefused, "cannot be the name of a plugin"),
        ("../up", ["gate"], RecipeRefused, "cannot be the name of a plugin"),
        ("", ["gate"], RecipeRefused, "cannot be the name of a plugin"),
        ("class", ["gate"], RecipeRefused, "cannot be the name of a plugin"),
        ("ddcore_mine", ["gate"], RecipeRefused, "give the name without ddcore"),
        ("mine", ["objectiv"], UnknownName, "no kind of example named 'objectiv'. Did you mean objective"),
        ("mine", [""], UnknownName, "no kind of example named ''"),
        ("mine", [], RecipeRefused, "names no kind"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(name, kinds, error, sentence, tmp_path):
    with pytest.raises(error, match=re.escape(sentence)):
        new_plugin(name, kinds, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_as_it_is(tmp_path):
    folder = tmp_path / "ddcore-mine"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    done = CliRunner().invoke(app, ["plugins", "new", "mine", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "exists already, and nothing in it is changed" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]


def test_every_example_has_a_file_and_a_line_of_help():
    files = {path.stem for path in (ROOT / "ddcore/template/files").glob("*.py")}
    assert files == EXAMPLES.keys()
    help_ = CliRunner().invoke(app, ["plugins", "new", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(kind in help_ for kind in EXAMPLES)
    assert all(len(name) > 1 for name in itertools.chain(EXAMPLES))
