"""`ddcore plugins check`, `list` and `trace`; what a method needs; what a distribution may do wrong."""

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from ddcore import BadCheckpoint, Host, RecipeRefused, UnknownName, hookimpl
from ddcore import plugin as dd
from ddcore.cli import app
from ddcore.errors import MissingPlugin
from ddcore.testing import tiny_images, tiny_recipe
from ddcore.testing.distribution import inspect_folder
from ddcore.trace import Trace

PROJECT = """[project]
name = "ddcore-wrong"
version = "1"
description = "A plugin."
requires-python = ">=3.11"
dependencies = ["ddcore>=0.1,<0.2"]

[project.entry-points.ddcore]
wrong = "ddcore_wrong"
"""
HEAD = "from dataclasses import dataclass\nfrom ddcore import plugin as dd\nddcore_api = '>=1.0,<2'\n"
PARTS = "@dd.hookimpl\ndef ddcore_parts():\n    return {}\n"
POLICY = (
    "class Drawn(dd.Policy):\n    'Fresh.'\n{}    def draw(self, state, synthetic, ctx):\n        return ctx.fresh()\n"
)


def call(*words):
    return CliRunner().invoke(app, ["plugins", *map(str, words)])


@pytest.fixture
def written(tmp_path):
    def write(source="", project=PROJECT):
        (tmp_path / "pyproject.toml").write_text(project)
        package = tmp_path / "ddcore_wrong"
        package.mkdir()
        (package / "__init__.py").write_text(source)
        return tmp_path

    yield write
    for name in [name for name in sys.modules if name.startswith("ddcore_wrong")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"ddcore-wrong"', '"wrong"', r"the distribution is called 'wrong': name it \"ddcore-\" and what it does"),
        ("wrong = ", "other = ", r"the plugin is called other and its distribution ddcore-wrong: call it ddcore-other"),
        ("ddcore>=0.1,<0.2", "ddcore", r"it says no range of ddcore that it works with"),
        ("ddcore>=0.1,<0.2", "ddcore>>1", r"a dependency cannot be read"),
        ('description = "A plugin."\n', "", r"\[project\] says no description\."),
        ("[project.entry-points.ddcore]\nwrong", "[project.urls]\nwrong", r"no entry point for ddcore: add"),
        ('wrong = "ddcore_wrong"', 'wrong = "ddcore_wrogn"', r"names no module in .*: let it be the package's name"),
        ("[project]", "[project", r"is not TOML"),
    ],
)
def test_what_is_wrong_with_its_names(old, new, sentence, written):
    faults = inspect_folder(written(HEAD, PROJECT.replace(old, new))).faults
    assert re.search(sentence, "\n".join(faults))
    assert all(fault.endswith((".", ".)")) for fault in faults)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import some_host\n" + HEAD, r"cannot be imported: ModuleNotFoundError at .*ddcore_wrong.*:1: .*some_host"),
        ("raise SystemExit(3)", r"cannot be imported: it exits"),
        ("from ddcore import plugin as dd\n", r'says? which hooks it was written for: add ddcore_api = ">=1.0,<2"'),
        (HEAD.replace(">=1.0,<2", ">=9"), r"written for hooks >=9, and this ddcore has 1\.0"),
        (HEAD.replace(">=1.0,<2", "soon"), r"'soon' is not a range of versions"),
        (HEAD + "@dd.hookimpl\ndef ddcore_partz():\n    return []\n", r"ddcore_partz"),
        (HEAD + "def ddcore_step(run):\n    yield\n", r"its ddcore_step is not marked.*@ddcore\.hookimpl"),
        (HEAD + "@dd.hookimpl\ndef ddcore_step(run, stepp):\n    return 0\n", r"stepp"),
        (HEAD + PARTS.format("dd.Pixels"), r"its ddcore_parts answers Pixels, not a list: return \[Pixels\]"),
        (HEAD + PARTS.format("None"), r"^$"),
        (HEAD + PARTS.format("[dd.Pixels()]"), r"announces Pixels\(.*\), a part: announce its class, without the \(\)"),
        (HEAD + PARTS.format("[print]"), r"neither a part nor a method\. Derive it from a kind of ddcore\.plugin"),
        (HEAD + PARTS.format("[dd.Fresh]"), r"^$"),
        (
            HEAD + POLICY.format("    pace: dd.Count = 1\n    'Pace.'\n") + PARTS.format("[Drawn]"),
            r"Drawn has the field pace, but no @dataclass\(frozen=True\) above it",
        ),
        (
            HEAD + "@dataclass\n" + POLICY.format("    pace: dd.Count = 1\n") + PARTS.format("[Drawn]"),
            r"Parts are frozen: write @dataclass\(frozen=True\)",
        ),
        (
            HEAD + "@dataclass(frozen=True)\n" + POLICY.format("    pace: int = 1\n") + PARTS.format("[Drawn]"),
            r"policy drawn: Drawn\.pace has no docstring below it(.|\n)*policy drawn: Drawn\.pace is a number without",
        ),
        (
            HEAD + POLICY.format("    asked = 0\n") + "        ctx.moon\n" + PARTS.format("[Drawn]"),
            r"^$",
        ),
        (
            HEAD + POLICY.format("").replace("ctx.fresh()", "ctx.moon") + PARTS.format("[Drawn]"),
            r"policy drawn: AttributeError at .*ddcore_wrong.*:\d+: 'Context' object has no attribute 'moon'",
        ),
    ],
)
def test_what_is_wrong_with_its_module(source, sentence, written):
    folder = written(source)
    done = call("check", folder)
    assert re.search(sentence, done.stderr), done.stderr
    assert done.exit_code == (0 if sentence == "^$" else 1)
    assert "Traceback" not in done.output


def test_a_study_is_not_run_and_that_is_said(written):
    study = "class Counted(dd.Study):\n    'Counts.'\n    def cases(self, host):\n        return []\n"
    study += "    def run(self, case, folder, host, device, progress):\n        return {}\n"
    study += "    def summarise(self, found):\n        return None\n"
    done = call("check", written(HEAD + study + PARTS.format("[Counted]")))
    assert done.exit_code == 0, done.output
    assert "Not tried: study counted: all its cases would run: let its own tests hold it to check_study" in " ".join(
        done.stdout.split()
    )


def test_a_folder_without_a_distribution_and_a_name_that_nobody_has(tmp_path):
    assert "holds no pyproject.toml: `ddcore plugins new NAME`" in call("check", tmp_path).stderr
    done = call("check", "moonlight")
    assert done.exit_code == 2
    assert "There is no plugin installed named 'moonlight'." in done.stderr
    assert "pip install ddcore-moonlight" in done.stderr


def test_an_installed_plugin_keeps_the_rules():
    done = call("check", "example")
    assert (done.exit_code, done.stdout) == (0, "example keeps the rules.\n")


def test_they_are_listed():
    rows = {row["name"]: row for row in json.loads(call("list", "--json").stdout)}
    example = rows["example"]
    assert example["hooks"] == ["ddcore_distill", "ddcore_parts", "ddcore_recipe", "ddcore_step"]
    assert example["parts"]["view"] == ["label_noise"]
    assert example["status"] == "can run"
    assert {"private", "replay", "federated", "robust", "backdoor", "nas", "graph"} <= rows.keys()
    assert "example" in call("list").stdout


# --- what needs another plugin


@dd.method(dd.Citation("k", "A", "T", "V", 2024), needs=("moonlight",))
def lunar(ipc=1):
    """A method that needs another plugin."""
    return dd.recipe("dm", ipc=ipc)


class Lunar:
    @hookimpl
    def ddcore_parts(self):
        return [lunar]


def test_a_method_says_what_it_needs_where_it_is_listed_and_refused(monkeypatch):
    host = Host({"lunar": Lunar()})
    with pytest.raises(MissingPlugin, match="'moonlight'.*is installed by `pip install ddcore-moonlight`"):
        host.recipe("lunar")
    monkeypatch.setattr("ddcore.host.Host", lambda: host)
    listed = {
        row["name"]: row["from"] for row in json.loads(CliRunner().invoke(app, ["list", "methods", "--json"]).stdout)
    }
    assert listed["lunar"] == "lunar with moonlight"
    assert listed["dm"] == "ddcore"


def test_a_recipe_that_names_a_missing_plugin_says_what_to_install(monkeypatch):
    recipe = tiny_recipe()
    named = recipe.__class__(**{**recipe.__dict__, "plugins": {"private": {}}})
    text = Host().recipe("ndpdc", overrides={"gate.name": "private_gate", "gate.noise_multiplier": 1.0}).to_toml()
    monkeypatch.setattr("ddcore.host.entry_points", lambda group: [])
    with pytest.raises(UnknownName, match="no plugin installed named 'private'.*pip install ddcore-private"):
        Host().start(named, tiny_images())
    with pytest.raises(UnknownName, match="no gate named 'private_gate'") as refused:
        dd.Recipe.from_toml(text, Host().catalogue)
    (note,) = refused.value.__notes__
    assert note == (
        "The recipe names the plugin private, which is not installed."
        " What brings private is installed by `pip install ddcore-private`."
    )


# --- the trace


class Asking:
    """Asks for examples before each step."""

    @hookimpl(wrapper=True)
    def ddcore_step(self, run):
        run.gate.examples([dd.Group(size=1)])
        return (yield)


def test_a_trace_says_who_was_called_and_what_each_asked(tmp_path):
    host = Host({"asking": Asking()})
    recipe = tiny_recipe(iterations=3, overrides={"plugins.asking": {}, "synthetic.init": "noise"})
    run = host.start(recipe, tiny_images())
    run.hooks.ddcore_distill(run=run)
    path = tmp_path / "trace.json"
    run.trace.write(path)
    done = call("trace", tmp_path, "--json")
    rows = {(row["plugin"], row["hook"]): row for row in json.loads(done.stdout)}
    assert rows["asking", "ddcore_step"]["calls"] == rows["ddcore", "ddcore_step"]["calls"] == 3
    assert rows["asking", "ddcore_step"]["asked"] == {"examples": 3}
    assert rows["ddcore", "ddcore_step"]["asked"] == {"features": 3}
    assert rows["ddcore", "ddcore_distill"]["calls"] == 1
    assert all(row["seconds"] >= 0 for row in rows.values())
    assert re.search(r"ddcore_step +asking +3 .*3 examples", call("trace", tmp_path).stdout)
    again = Trace()
    again.read(path)
    again.read(path)
    assert again.asked == {"examples": 6, "features": 6}


def test_a_wrapper_that_raises_or_yields_twice_does_so_through_the_trace():
    class Twice:
        @hookimpl(wrapper=True)
        def ddcore_step(self, run):
            yield
            yield

    class Stopping:
        @hookimpl(wrapper=True)
        def ddcore_step(self, run):
            yield
            raise dd.StopRun("enough")

    recipe, data = tiny_recipe(iterations=3, overrides={"plugins.odd": {}}), tiny_images()
    with pytest.raises(RuntimeError, match="second yield|did not stop|yield"):
        Host({"odd": Twice()}).distill(recipe, data)
    assert Host({"odd": Stopping()}).distill(recipe, data).facts["stopped"] == "enough"


def test_a_folder_without_a_trace_and_a_damaged_one(tmp_path):
    assert "holds no trace" in call("trace", tmp_path).stderr
    (tmp_path / "trace.json").write_text('[{"plugin": 3}]')
    done = call("trace", tmp_path)
    assert done.exit_code == 2
    assert "trace.json is damaged" in done.stderr and "Remove it" in done.stderr
    with pytest.raises(BadCheckpoint):
        Trace().read(tmp_path / "trace.json")


def test_a_carrier_without_classes_is_refused_before_the_run():
    class Bare(dd.CarrierModule):
        def start(self, ctx):
            pass

        def forward(self, index):
            return index

        def nbytes(self):
            return 0

    class Empty(dd.Carrier):
        """Without classes."""

        def build(self, card):
            return Bare()

    host = Host()
    with pytest.raises(RecipeRefused, match="Bare has no classes: let its __init__ register a buffer"):
        host.start(
            tiny_recipe(overrides={"augment": "none"}).__class__(**{**tiny_recipe().__dict__, "synthetic": Empty()}),
            tiny_images(),
        )
