"""The four hooks: their order, their strictness, their isolation."""

import inspect
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pluggy
import pytest
import torch

import ddcore
from ddcore import Host, PluginBroken, RecipeRefused, StopRun, UnknownName, hookimpl, hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("ddcore_")]
GUIDE = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


def named(recipe, **plugins):
    return replace(recipe, plugins=plugins)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_test_a_heading_and_an_example(name):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"### {name}({arguments})" in GUIDE
    assert any(test.startswith(f"test_{name}_") for test in globals())
    example = textwrap.dedent(getattr(hookspecs, name).__doc__.split("::\n", 1)[1])
    scope = {"ddcore": ddcore, "MyCarrier": None, "my_method": None}
    exec(compile(example, name, "exec"), scope)
    assert inspect.isfunction(scope[name])


# --- what each hook does ---------------------------------------------------------------------------------


def test_ddcore_parts_are_listed_and_named_though_inactive(host):
    assert host.catalogue.find("objective", "absolute_match").distribution == "ddcore-example"
    assert host.recipe("absolute").name == "absolute"


def test_ddcore_recipe_has_the_last_word(host, small, tiny):
    recipe = small(host.recipe("dm", iterations=5), plugins={"example": {"most_iterations": 4}})
    with pytest.raises(RecipeRefused, match="most_iterations is 4, the recipe wants 5"):
        host.start(recipe, tiny)


def test_ddcore_distill_stands_around_the_run(host, small, tiny):
    recipe = small(host.recipe("dm", iterations=1))
    assert host.distill(named(recipe, example={}), tiny).facts["seen_by"] == "example"
    assert "seen_by" not in host.distill(recipe, tiny).facts


def test_ddcore_step_can_stop_the_run_in_good_order(host, small, tiny):
    recipe = small(host.recipe("dm", iterations=9), plugins={"example": {"enough": 1e9}})
    distilled = host.distill(recipe, tiny)
    assert distilled.facts["steps"] == 0
    assert "which is enough" in distilled.facts["stopped"]
    assert torch.isfinite(distilled.inputs).all()


def test_ddcore_step_sees_the_network_of_its_step(small, tiny):
    seen = []

    @hookimpl(wrapper=True)
    def ddcore_step(run):
        loss = yield
        seen.append((run.step, run.draw.network is run.ctx.network))
        return loss

    host = Host({"watch": SimpleNamespace(ddcore_step=ddcore_step)})
    host.distill(named(small(host.recipe("dm", iterations=2)), watch={}), tiny)
    assert seen == [(0, True), (1, True)]


# --- order, isolation, strictness ------------------------------------------------------------------------


def recorder(log, name):
    @hookimpl(wrapper=True)
    def ddcore_step(run):
        log.append(f"{name} in")
        loss = yield
        log.append(f"{name} out")
        return loss

    return SimpleNamespace(ddcore_step=ddcore_step)


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_plugins_are_heard_in_the_order_of_the_recipes_table(order, small, tiny):
    log = []
    host = Host({name: recorder(log, name) for name in ("one", "two")})
    host.distill(named(small(host.recipe("dm", iterations=1)), **{name: {} for name in order}), tiny)
    assert log == [f"{order[0]} in", f"{order[1]} in", f"{order[1]} out", f"{order[0]} out"]


def test_two_runs_in_one_process_do_not_hear_each_other(small, tiny):
    log = []
    host = Host({name: recorder(log, name) for name in ("one", "two")})
    recipe = small(host.recipe("dm", iterations=2))
    first, second = (host.start(named(recipe, **{name: {}}), tiny) for name in ("one", "two"))
    first.go(until=1)
    second.go(until=1)
    first.go()
    assert log == ["one in", "one out", "two in", "two out", "one in", "one out"]


def test_an_installed_plugin_that_is_not_named_changes_nothing(small, tiny, monkeypatch):
    recipe = small(Host().recipe("dm", iterations=2))
    with_plugin = Host().distill(recipe, tiny)
    monkeypatch.setattr("ddcore.host.entry_points", lambda group: [])
    assert Host().plugins == {}
    assert torch.equal(Host().distill(recipe, tiny).inputs, with_plugin.inputs)


def test_a_misspelt_hook_is_an_error_that_names_it():
    @hookimpl
    def ddcore_setp(run):
        pass

    with pytest.raises(PluginBroken, match="'wrong' cannot be used.*ddcore_setp"):
        Host({"wrong": SimpleNamespace(ddcore_setp=ddcore_setp)})


def test_an_unknown_argument_is_an_error_that_names_it():
    @hookimpl
    def ddcore_step(run, stepp):
        pass

    with pytest.raises(PluginBroken, match="stepp"):
        Host({"wrong": SimpleNamespace(ddcore_step=ddcore_step)})


def test_a_class_instead_of_an_object_is_explained():
    with pytest.raises(PluginBroken, match=r"is the class Wrong, not an object: did you forget the \(\)"):
        Host({"wrong": type("Wrong", (), {})})


def test_naming_what_is_not_installed_lists_the_near_ones(host, small, tiny):
    with pytest.raises(UnknownName, match="no plugin installed named 'exampel'. Did you mean example"):
        host.start(named(small(host.recipe("dm")), exampel={}), tiny)


def test_the_core_enters_by_its_own_door(host):
    manager = host.manager([])
    assert [name for name, _ in manager.list_name_plugin()] == ["ddcore"]
    assert isinstance(manager, pluggy.PluginManager)
    assert host.manager([]) is not manager


# --- broken distributions --------------------------------------------------------------------------------

BROKEN = {
    "raises": ("raise RuntimeError('no such device')", "RuntimeError: no such device", "pip install --upgrade raises"),
    "hostless": ("import some_host_library", "needs the module some_host_library", "pip install some_host_library"),
    "misspelt": (
        "import ddcore\n@ddcore.hookimpl\ndef ddcore_partz():\n    return []",
        "ddcore_partz",
        "pip install --upgrade misspelt",
    ),
    "future": ("ddcore_api = '>=9'", "written for hooks >=9, and this ddcore has 1.0", "pip install --upgrade future"),
    "garbled": ("ddcore_api = 'soon'", "'soon' is not a range of versions", "pip install --upgrade garbled"),
    "exits": ("raise SystemExit(3)", "SystemExit", "pip install --upgrade exits"),
    "failing": (
        "import ddcore\n@ddcore.hookimpl\ndef ddcore_parts():\n    raise OSError('disk')",
        "OSError: disk",
        "pip install --upgrade failing",
    ),
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Installs a broken distribution of that name where Python finds it."""

    def install(name):
        package, info = tmp_path / f"{name}_plugin.py", tmp_path / f"{name}-2.5.dist-info"
        package.write_text(BROKEN[name][0])
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[ddcore]\n{name} = {name}_plugin\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    for name in BROKEN:
        sys.modules.pop(f"{name}_plugin", None)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_isolated_listed_and_refused_when_named(name, broken, small, tiny, monkeypatch):
    broken(name)
    host = Host()
    (problem,) = host.problems
    _, cause, remedy = BROKEN[name]
    assert (problem.name, problem.distribution, problem.version) == (name, name, "2.5")
    assert cause in problem.cause
    assert problem.remedy == remedy
    assert "example" in host.plugins
    recipe = small(host.recipe("dm", iterations=1))
    assert len(host.distill(recipe, tiny)) == 3
    with pytest.raises(PluginBroken, match=re.escape(remedy)):
        host.start(named(recipe, **{name: {}}), tiny)
    monkeypatch.setenv("DDCORE_STRICT_PLUGINS", "1")
    with pytest.raises(PluginBroken, match=re.escape(cause)):
        Host()


def test_two_plugins_with_one_part_name_are_told_apart(monkeypatch):
    impostor = type("AbsoluteMatch", (ddcore.Objective,), {})
    parts = SimpleNamespace(ddcore_parts=hookimpl(lambda: [impostor]))
    host = Host({"impostor": parts})
    (problem,) = host.problems
    assert "ddcore-example and impostor both bring a objective named 'absolute_match'" in problem.cause
    assert "impostor" not in host.plugins


def test_stop_run_is_no_error():
    assert not issubclass(StopRun, ddcore.DdcoreError)
