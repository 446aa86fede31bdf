"""The four hooks: their order, their strictness, their isolation."""

import inspect
import re
import sys
import textwrap
import types
import typing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
import torch
from ddcore_example import AbsoluteMatch

import ddcore
from ddcore import Host, PluginBroken, RecipeRefused, Run, StopRun, UnknownName, hookimpl, hookspecs
from ddcore.rng import Streams

HOOKS = [name for name in vars(hookspecs) if name.startswith("ddcore_")]
GUIDE = (Path(__file__).resolve().parents[1] / "ddcore" / "docs" / "hooks.md").read_text()


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
    assert distilled.facts["steps"] == 1
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
    assert seen == [(1, True), (2, True)]


def is_of(value, hint):
    """``value`` is of the annotated type, as far as can be seen at run time."""
    if hint is Any:
        return True
    if isinstance(hint, types.UnionType):
        return any(is_of(value, choice) for choice in typing.get_args(hint))
    return isinstance(value, typing.get_origin(hint) or hint)


def test_what_a_hook_may_read_of_the_run_is_there_and_of_its_type(small, tiny):
    read = []

    def look(where, run):
        hints = typing.get_type_hints(Run)
        read.append((where, {name: is_of(getattr(run, name), hint) for name, hint in hints.items()}, run.started))

    @hookimpl(wrapper=True)
    def ddcore_distill(run):
        look("before", run)
        assert (run.draw, run.preprocess) == (None, None)
        distilled = yield
        look("after", run)
        run.facts["told"] = run.step
        return distilled.with_facts(**run.facts)

    @hookimpl(wrapper=True)
    def ddcore_step(run):
        before = run.draw
        look("before a step", run)
        loss = yield
        look("after a step", run)
        assert run.draw is not before
        assert run.preprocess is not None
        return loss

    host = Host({"look": SimpleNamespace(ddcore_distill=ddcore_distill, ddcore_step=ddcore_step)})
    distilled = host.distill(named(small(host.recipe("dm", iterations=2)), look={}), tiny)
    steps = ["before a step", "after a step"] * 2
    assert [where for where, _, _ in read] == ["before", *steps, "after"]
    assert [started for _, _, started in read] == [False, True, True, True, True, True]
    for where, found, _ in read:
        assert len(found) >= 12
        assert all(found.values()), (where, found)
    assert distilled.facts["told"] == 2


def test_every_attribute_that_a_hook_may_read_has_its_type_and_the_loop_names_the_hooks():
    hints = typing.get_type_hints(Run)
    assert {"recipe", "card", "gate", "rng", "draw", "step", "synthetic", "facts", "preprocess", "started"} <= set(
        hints
    )
    assert not any(name.startswith("_") for name in hints)
    assert all(hook in Run.__doc__ for hook in ("ddcore_distill(run)", "ddcore_step(run)"))


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
    first.run_until(until=1)
    second.run_until(until=1)
    first.run_until()
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


def test_a_forgotten_marker_is_an_error_that_names_it():
    def ddcore_step(run):
        yield

    with pytest.raises(PluginBroken, match="its ddcore_step is not marked.*@ddcore.hookimpl"):
        Host({"silent": SimpleNamespace(ddcore_step=ddcore_step)})


def test_a_hook_under_another_name_is_heard():
    part = type("Brought", (AbsoluteMatch,), {})
    host = Host({"other": SimpleNamespace(brings=hookimpl(specname="ddcore_parts")(lambda: [part]))})
    assert host.catalogue.find("objective", "brought").distribution == "other"


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
    "classy": (
        "class Plugin:\n    pass",
        "is the class Plugin, not an object: did you forget the ()",
        "pip install --upgrade classy",
        "classy_plugin:Plugin",
    ),
    "unmarked": (
        "def ddcore_step(run):\n    yield",
        "its ddcore_step is not marked",
        "pip install --upgrade unmarked",
    ),
    "claimant": (
        "import ddcore\nclass Pixels(ddcore.Pixels):\n    pass\n"
        "@ddcore.hookimpl\ndef ddcore_parts():\n    return [Pixels]",
        "ddcore and claimant both bring a carrier named 'pixels'",
        "pip install --upgrade claimant",
    ),
    "singular": (
        "import ddcore\nclass Own(ddcore.Pixels):\n    pass\n@ddcore.hookimpl\ndef ddcore_parts():\n    return Own",
        "its ddcore_parts answers Own, not a list: return [Own]",
        "pip install --upgrade singular",
    ),
    "made": (
        "import ddcore\n@ddcore.hookimpl\ndef ddcore_parts():\n    return [ddcore.Pixels()]",
        "announces Pixels(ipc=1, bits=None, coarse=None, init='noise'), a part: announce its class, without the ()",
        "pip install --upgrade made",
    ),
    "bare": (
        "from ddcore import plugin as dd\nclass Own(dd.Policy):\n    pace: dd.Count = 1\n"
        "    def draw(self, state, synthetic, ctx):\n        return ctx.fresh()\n"
        "@dd.hookimpl\ndef ddcore_parts():\n    return [Own]",
        "Own has the field pace, but no @dataclass(frozen=True) above it",
        "pip install --upgrade bare",
    ),
    "thawed": (
        "from dataclasses import dataclass\nfrom ddcore import plugin as dd\n@dataclass\nclass Own(dd.Policy):\n"
        "    pace: dd.Count = 1\n",
        "Parts are frozen: write @dataclass(frozen=True)",
        "pip install --upgrade thawed",
    ),
    "failing": (
        "import ddcore\n@ddcore.hookimpl\ndef ddcore_parts():\n    raise OSError('disk')",
        "OSError: disk",
        "pip install --upgrade failing",
    ),
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Puts a distribution with one plugin where Python finds it."""
    modules = []

    def install(distribution, source, entry=None, name=None):
        module, info = f"{distribution}_plugin", tmp_path / f"{distribution}-2.5.dist-info"
        (tmp_path / f"{module}.py").write_text(source)
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[ddcore]\n{name or distribution} = {entry or module}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        modules.append(module)

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_isolated_listed_and_refused_when_named(name, installed, small, tiny, monkeypatch):
    source, cause, remedy, *entry = BROKEN[name]
    installed(name, source, *entry)
    host = Host()
    (problem,) = host.problems
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


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("from numpy import nothing_of_the_kind", "it needs numpy<1 (cannot import name 'nothing_of_the_kind'"),
        ("import numpy\nnumpy.nothing_of_the_kind", "it needs numpy<1 (module 'numpy' has no attribute"),
    ],
)
def test_a_host_library_of_another_version_is_named_with_the_one_that_is_wanted(source, cause, installed, tmp_path):
    installed("outdated", source)
    with (tmp_path / "outdated-2.5.dist-info" / "METADATA").open("a") as file:
        file.write("Requires-Dist: numpy<1\nRequires-Dist: torch>=2\nRequires-Dist: nobody; extra == 'more'\n")
    (problem,) = Host().problems
    assert problem.cause.startswith(cause)
    assert problem.remedy == "pip install 'numpy<1'"


def test_a_plugin_that_lacks_what_it_has_not_used_yet_can_run_and_is_listed_so(installed, tmp_path):
    installed("lazy", "")
    with (tmp_path / "lazy-2.5.dist-info" / "METADATA").open("a") as file:
        file.write("Requires-Dist: some-host-library>=3\n")
    host = Host()
    assert host.plugins["lazy"].lacking == ("some-host-library>=3",)
    assert not host.problems


def test_two_plugins_with_one_part_name_are_told_apart():
    good, impostor = (type(name, (AbsoluteMatch,), {}) for name in ("Good", "AbsoluteMatch"))
    parts = SimpleNamespace(ddcore_parts=hookimpl(lambda: [good, impostor]))
    host = Host({"impostor": parts})
    (problem,) = host.problems
    assert "ddcore-example and impostor both bring a objective named 'absolute_match'" in problem.cause
    assert "impostor" not in host.plugins
    with pytest.raises(UnknownName):
        host.catalogue.find("objective", "good")  # all of its parts stay out


def test_two_distributions_with_one_plugin_name_are_both_refused(installed, small, tiny):
    for distribution in ("north", "south"):
        installed(distribution, "", name="compass")
    host = Host()
    assert {p.distribution: p.cause for p in host.problems} == {
        "north": "south brings a plugin of that name too",
        "south": "north brings a plugin of that name too",
    }
    with pytest.raises(PluginBroken, match="pip uninstall"):
        host.start(named(small(host.recipe("dm", iterations=1)), compass={}), tiny)


# --- the example plugin ----------------------------------------------------------------------------------


def test_the_example_changes_the_share_of_labels_that_it_says(host, tiny):
    view = host.catalogue.find("view", "label_noise").maker
    store, changed = tiny.train, {}
    for share in (0.0, 0.5):
        live = view(share).build(store, Streams(0))
        changed[share] = (live.relabel(store.targets) != store.targets).float().mean().item()
    assert changed[0.0] == 0.0
    assert changed[0.5] == pytest.approx(0.5 * 2 / 3, abs=0.15)  # a third of the new labels are the old ones
    again = view(0.5).build(store, Streams(0)).relabel(store.targets)
    assert torch.equal(again, view(0.5).build(store, Streams(0)).relabel(store.targets))


def test_the_examples_objective_is_its_formula(host, tiny):
    recipe = replace(host.recipe("absolute", ipc=2, iterations=1), views=())
    recipe = replace(recipe, objective=replace(recipe.objective, real=20))  # the whole class, so that nothing is drawn
    run = host.start(recipe, tiny)
    run.start()
    draw = run.ctx.fresh()
    fitted, store = run.preprocess, tiny.train
    wanted = 0.0
    for c in range(3):
        real = fitted(store.take((store.targets == c).nonzero().flatten()).inputs)
        inputs, _ = run.synthetic.take(run.synthetic.pick([c]))
        difference = draw(real, features=True).mean(0) - draw(inputs, features=True).mean(0)
        wanted += sum(abs(value) for value in difference.tolist())
    assert float(recipe.objective.loss(draw, run.synthetic, run.ctx).detach()) == pytest.approx(wanted, rel=1e-4)


def test_the_examples_method_learns_and_repeats(host, tiny):
    recipe = host.recipe("absolute", ipc=1, iterations=15)
    first, second = (host.distill(recipe, tiny, seed=3) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert first.facts["seen_by"] == "example"
    start = host.start(replace(recipe, seed=3), tiny)
    start.start()
    assert not torch.equal(start.synthetic.everything()[0], first.inputs)


def test_stop_run_is_no_error():
    assert not issubclass(StopRun, ddcore.DdcoreError)
