"""Studies: cases, what they leave, going on, engines, failures; the grid."""

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import ddcore
from ddcore import Case, CasesFailed, Finding, Grid, Host, Loky, RecipeRefused, Study, run_study
from ddcore.cli import app
from ddcore.datasets.base import Readings
from ddcore.files import held
from ddcore.plugin import DataSet, Line, Mnist, Panel, Part, Plot, over_seeds, so_far, spread
from ddcore.study.table import Table
from ddcore.testing import tiny_images


@dataclass(frozen=True)
class Count(Study):
    """Counts to a number from each start, one file a step."""

    in_part: ClassVar[bool] = True
    chooses: ClassVar[frozenset[str]] = frozenset({"starts", "seeds"})

    to: int = 3
    starts: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0, 1)
    data: ddcore.DataSet = field(default_factory=ddcore.plugin.Digits)

    def cases(self, host):
        return [Case("count", seed, {"start": start}) for start in self.starts for seed in self.seeds]

    def run(self, case, folder, host, device, progress):
        start, made = case.description["start"], 0
        for i in range(start, self.to):
            if not (folder / f"{i}.txt").exists():
                (folder / f"{i}.txt").write_text(device)
                made += 1
            if progress:
                progress("counting", i + 1, self.to)
        if start == 13:
            raise ValueError("thirteen")
        return {"sum": start + case.seed, "made": made}

    def summarise(self, found):
        sums = [spread([one.numbers["sum"] for one in alike]) for alike in over_seeds(found)]
        numbers = {"sums": sums, "made": [one.numbers["made"] for one in found]}
        plot = Plot("sums", "start", "sum", [[Panel([Line("count", [s["mean"] for s in sums], range(len(sums)))])]])
        return Finding(["start", "sum"], [["all", str(len(sums))]], numbers, "It can count.", (plot,))


def test_a_study_leaves_its_finding_and_reads_the_cases_that_have_ended(tmp_path):
    told = []
    folder = tmp_path / "s"
    finding = run_study(Count(), folder, progress=lambda *said: told.append(said))
    assert finding.numbers == {"sums": [{"mean": 0.5, "std": pytest.approx(0.5**0.5), "n": 2}], "made": [3, 3]}
    assert ("case 1 of 2: count, seed 0: counting", 2, 3) in told
    assert told[-2:] == [("case 2 of 2: count, seed 1", 2, 2), ("cases", 2, 2)]
    assert told[0] == ("cases", 0, 2)
    assert json.loads((folder / "finding.json").read_text())["study"] == "count"
    rows = list(csv.DictReader((folder / "finding.csv").read_text().splitlines()))
    assert [(row["case"], row["seed"], row["sum"]) for row in rows] == [("count", "0", "0"), ("count", "1", "1")]
    report = (folder / "report.md").read_text()
    for said in ("| start | sum |", "It can count.", 'name = "digits"', "![sums](sums.png)"):
        assert said in report
    assert (folder / "sums.png").stat().st_size > 2000
    assert str(finding) == "start | sum\nall | 1\nIt can count."
    cases = sorted((folder / "cases").iterdir())
    assert [json.loads((case / "case.json").read_text()) for case in cases] == [
        {"sum": 0, "made": 3},
        {"sum": 1, "made": 3},
    ]
    (cases[0] / "case.json").unlink()
    (cases[0] / "1.txt").unlink()
    assert run_study(Count(), folder).numbers["made"] == [1, 3], "one went on in its own folder, one was read"


def test_what_has_ended_is_summed_up_while_others_run(tmp_path):
    run_study(Count(), tmp_path)
    ended = sorted(tmp_path.glob("cases/*/case.json"))
    ended[1].unlink()
    (tmp_path / "report.md").unlink()
    with held(tmp_path):
        finding = so_far(Count(), tmp_path)
    assert finding.numbers["made"] == [3] and finding.says == "1 of 2 cases have ended. It can count."
    assert "1 of 2 cases have ended." in (tmp_path / "report.md").read_text() and not ended[1].exists()
    ended[0].unlink()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RecipeRefused, match="None of the 2 cases has ended in"):
            so_far(Count(), folder)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(RecipeRefused, match=r"holds a study with other settings \(to; "):
        so_far(Count(to=2), tmp_path)


def test_a_study_that_says_something_of_all_of_its_cases_alone_is_not_summed_up_before(tmp_path, monkeypatch):
    run_study(Count(), tmp_path)
    monkeypatch.setattr(Count, "in_part", False)
    with pytest.raises(RecipeRefused, match="sums up nothing before all of its cases have ended"):
        so_far(Count(), tmp_path)


def test_what_only_chooses_cases_may_change_and_what_is_there_is_used_again(tmp_path):
    run_study(Count(), tmp_path)
    told = []
    finding = run_study(Count(starts=(1, 0), seeds=(1,)), tmp_path, progress=lambda *said: told.append(said))
    assert told[0] == ("1 of 2 cases found", 1, 2)
    assert [s["mean"] for s in finding.numbers["sums"]] == [2, 1]


def test_other_settings_in_the_folder_are_refused_and_what_is_there_left_alone(tmp_path):
    run_study(Count(to=1), tmp_path)
    before = (tmp_path / "finding.json").read_text()
    with pytest.raises(RecipeRefused, match=r"holds a study with other settings \(to; "):
        run_study(Count(to=2), tmp_path)
    assert (tmp_path / "finding.json").read_text() == before


def test_a_folder_where_nothing_has_begun_takes_other_settings_and_one_of_an_experiment_none(tmp_path):
    (tmp_path / "study.toml").write_text('name = "count"\nto = 9\n')
    run_study(Count(to=2), tmp_path)
    other = tmp_path / "experiment"
    other.mkdir()
    (other / "recipe.toml").write_text("")
    with pytest.raises(RecipeRefused, match="holds an experiment"):
        run_study(Count(to=2), other)
    assert [path.name for path in other.iterdir()] == ["recipe.toml"]
    with pytest.raises(RecipeRefused, match="The device 'nowhere' cannot be used"):
        run_study(Count(to=2), tmp_path, device="nowhere")


def test_damaged_files_have_a_sentence(tmp_path):
    run_study(Count(), tmp_path)
    kept = next((tmp_path / "cases").glob("*/case.json"))
    kept.write_text('{"sum": ')
    with pytest.raises(ddcore.DdcoreError, match=r"case.json is damaged .* Delete it"):
        run_study(Count(), tmp_path)
    (tmp_path / "study.toml").write_text("to = ")
    with pytest.raises(RecipeRefused, match="study.toml is damaged"):
        run_study(Count(), tmp_path)


def test_every_study_chooses_cases_by_fields_that_it_has(host):
    studies = [entry.maker for entry in host.catalogue.of("study")]
    assert Grid in studies
    for study in studies:
        assert study.chooses <= {f.name for f in fields(study)}, study


def test_no_two_cases_share_a_folder():
    cases = [
        Case("net", 0, {"network": ddcore.MLP(width=8)}),
        Case("net", 0, {"network": ddcore.MLP(width=16)}),
        Case("net", 1, {"network": ddcore.MLP(width=8)}),
        Case("net", 0, {"network": ddcore.ConvNet(width=8)}),
        Case("a b", 0),
        Case("a/b", 0),
        Case("x" * 100 + "1"),
        Case("x" * 100 + "2"),
    ]
    folders = [case.folder for case in cases]
    assert len({name.lower() for name in folders}) == len(cases)
    assert all("/" not in name and len(name) < 90 for name in folders)
    assert cases[0].content == cases[2].content != cases[1].content
    assert cases[0].folder == Case("net", 0, {"network": ddcore.MLP(width=8)}).folder


def test_one_case_twice_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(RecipeRefused, match="Two cases are the same: count, seed 1. Name each once"):
        run_study(Count(seeds=(0, 1, 1)), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_failing_case_does_not_keep_the_others_from_running(tmp_path):
    with pytest.raises(CasesFailed) as failed:
        run_study(Count(starts=(13, 0)), tmp_path)
    said = str(failed.value)
    assert said.startswith("2 of 4 cases failed. case 1 of 4: count, seed 0: ValueError: thirteen. case 2 of 4: ")
    assert "The other 2 are kept" in said and "the same command goes on" in said
    assert len(list((tmp_path / "cases").glob("*/case.json"))) == 2
    (log, _) = (tmp_path / "cases").glob("*/failed.txt")
    assert 'raise ValueError("thirteen")' in log.read_text()
    assert not (tmp_path / "finding.json").exists()
    assert run_study(Count(), tmp_path).numbers["made"] == [3, 3]


# --- what is refused before any case runs, by every study --------------------------------------------------


@pytest.fixture
def no_case(monkeypatch):
    """No case may begin."""
    monkeypatch.setattr("ddcore.study.running._run_cases", lambda study, *_: pytest.fail(f"{study} has begun"))


def every_study(host):
    return {entry.maker.part_name(): entry.maker() for entry in host.catalogue.of("study")}


def overridden_by(part, overrides):
    """``part`` with ``overrides`` in each field of that name, its own and those of the parts within it."""
    changes = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if f.name == "overrides":
            changes[f.name] = overrides
        elif isinstance(value, Part):
            changes[f.name] = overridden_by(value, overrides)
        elif isinstance(value, tuple):
            changes[f.name] = tuple(overridden_by(v, overrides) if isinstance(v, Part) else v for v in value)
    return replace(part, **changes)


def test_a_method_or_a_field_that_does_not_exist_is_refused_by_every_study_with_overrides(host, tmp_path, no_case):
    refusing = set()
    for name, study in every_study(host).items():
        if overridden_by(study, {"herding": {}}) == study:
            continue
        named = (*getattr(study, "methods", ()), *getattr(study, "sets", ()), "random")
        for overrides in ({"herdin": {"network.width": 4}}, {one: {"netwrok.width": 4} for one in named}):
            with pytest.raises(ddcore.DdcoreError, match=r"herdin|netwrok|no field of .* named '(random|dm)'"):
                run_study(overridden_by(study, overrides), tmp_path / name, host=host)
            assert not (tmp_path / name).exists(), name
        refusing.add(name)
    assert {"table", "grid"} <= refusing


class Lost(ddcore.DataSet):
    """Raises what no data set should."""

    def load(self):
        raise OSError("the disk is gone")


def test_fields_that_no_method_has_leave_no_case(tmp_path):
    table = replace(SMALL_TABLE, methods=("all",), overrides={"all": {"netwrok.width": 4}})
    with pytest.raises(RecipeRefused, match="The study table has no case to run"):
        run_study(table, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_data_that_are_not_there_are_refused_by_every_study(host, tmp_path, digits, no_case):
    kept = tmp_path / "set.safetensors"
    host.distill(host.recipe("random"), digits).save(kept)
    for name, study in every_study(host).items():
        if not isinstance(getattr(study, "data", None), DataSet | tuple):
            continue
        nowhere = Mnist(root=str(tmp_path / "nothing"))
        given = {"sets": (str(kept),)} if hasattr(study, "sets") and not study.sets else {}
        study = replace(study, data=(nowhere,) if isinstance(study.data, tuple) else nowhere, **given)
        with pytest.raises(ddcore.BadData, match="mnist is not in .*nothing .* Name its folder with --root"):
            run_study(study, tmp_path / name, host=host)
        assert not (tmp_path / name).exists(), name


def test_data_of_cases_are_loaded_too_and_what_no_data_set_should_raise_has_a_sentence(tmp_path):
    class Cases(Count):
        def cases(self, host):
            return [Case("count", 0, {"start": 0, "settings": ddcore.Settings(Lost())})]

    with pytest.raises(ddcore.BadData, match=r"lost cannot be loaded \(OSError: the disk is gone\). Correct its root"):
        run_study(Cases(), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_study_whose_cases_have_ended_needs_no_data(tmp_path, monkeypatch):
    run_study(Count(), tmp_path)
    monkeypatch.setattr("ddcore.study.running.loaded", lambda data: pytest.fail("nothing is left to run"))
    assert run_study(Count(), tmp_path).numbers["made"] == [3, 3]


@dataclass(frozen=True)
class Tagged(ddcore.DataSet):
    """Tiny images, with a table among its fields; it knows how often it was read."""

    reads: ClassVar[list[str]] = []

    tags: dict[str, int] = field(default_factory=dict)
    """Whatever."""

    def load(self):
        self.reads.append(str(self.tags))
        return tiny_images(8)


@dataclass(frozen=True)
class Sampled(ddcore.Experiments):
    """Random images of each of several data sets, with each of two seeds."""

    data: tuple[ddcore.DataSet, ...] = (Tagged(),)

    def experiments(self, host):
        protocol = ddcore.Protocol(steps=1, repeats=1, networks=(ddcore.MLP(width=4),))
        recipe = host.recipe("random")
        return [
            ddcore.Experiment(replace(recipe, seed=seed), ddcore.Settings(data, protocol, ()))
            for data in self.data
            for seed in (0, 1)
        ]


@pytest.fixture
def reads():
    Tagged.reads.clear()
    return Tagged.reads


def test_a_study_of_experiments_reads_its_data_once_and_each_study_anew(tmp_path, reads):
    run_study(Sampled(), tmp_path / "a")
    assert reads == ["{}"]
    run_study(Sampled(), tmp_path / "b")
    assert reads == ["{}"] * 2
    settings = ddcore.Settings(Tagged())
    settings.load(0), settings.load(0)
    assert reads == ["{}"] * 4, "outside a study, the files as they are now"


def test_of_several_data_sets_one_at_a_time_is_held(tmp_path, reads):
    run_study(Sampled((Tagged({"n": 1}), Tagged({"n": 2}))), tmp_path)
    assert reads == [str({"n": n}) for n in (2, 1, 2)], "all before the first case, whose own comes last"


def test_a_process_reads_the_data_of_a_study_once(reads):
    sent = pickle.dumps(Readings())
    for _ in range(2):
        pickle.loads(sent).load(Tagged())
    assert len(reads) == 1
    pickle.loads(pickle.dumps(Readings())).load(Tagged())
    assert len(reads) == 2


def test_a_folder_that_another_holds_is_said_before_data_are_read(tmp_path, reads):
    with held(tmp_path / "s"), pytest.raises(ddcore.FolderHeld):
        run_study(Sampled(), tmp_path / "s")
    assert not reads


# --- processes of their own ------------------------------------------------------------------------------

OUTSIDE = '''
"""A plugin that is not installed, with a study."""

import os
import threading
from dataclasses import dataclass

import torch

import ddcore


@dataclass(frozen=True)
class Squares(ddcore.Study):
    """The squares of some numbers."""

    of: tuple[int, ...] = (1, 2, 3)

    def cases(self, host):
        return [ddcore.Case(f"square of {n}", description={"n": n}) for n in self.of]

    def run(self, case, folder, host, device, progress):
        n = case.description["n"]
        steps = folder / "steps.txt"
        for step in range(2):
            if steps.exists() and len(steps.read_text().split()) > step:
                continue
            with steps.open("a") as file:
                file.write(f"{os.getpid()} ")
            if n == int(os.environ.get("WAITS_AT", 0)):
                print("waiting", flush=True)
                threading.Event().wait()
        host.catalogue.find("study", "squares")
        return {"square": n * n, "threads": torch.get_num_threads()}

    def summarise(self, found):
        rows = [[one.case.label, str(one.numbers["square"])] for one in found]
        return ddcore.Finding(["what", "is"], rows, {"threads": [one.numbers["threads"] for one in found]})


@ddcore.hookimpl
def ddcore_parts():
    return [Squares]
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module beside no distribution, where this process and its children find it."""
    (tmp_path / "dd_squares.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dd_squares", raising=False)
    import dd_squares

    return dd_squares


def test_a_study_of_an_outside_module_is_found_by_name_and_runs_in_processes(outside, tmp_path):
    host = Host({"squares": outside})
    study = host.catalogue.find("study", "squares").maker()
    here = run_study(study, tmp_path / "here", host=host)
    there = run_study(study, tmp_path / "there", host=host, engine=Loky(2))
    assert here.rows == there.rows == [["square of 1", "1"], ["square of 2", "4"], ["square of 3", "9"]]
    assert set(there.numbers["threads"]) == {1}
    ran = {path.read_text().split()[0] for path in (tmp_path / "there" / "cases").glob("*/steps.txt")}
    assert str(os.getpid()) not in ran


def test_failures_in_processes_are_told_as_here(tmp_path):
    said = []
    study = grid(seeds=(0,), overrides={"dm": {"network.width": 4, "objective.real": 8, "update.lr.inputs": 1e38}})
    for engine in (None, Loky(2)):
        with pytest.raises(CasesFailed) as failed:
            run_study(study, tmp_path / str(engine), engine=engine)
        said.append(str(failed.value).partition(" are kept")[0])
    assert said[0] == said[1]
    assert said[0].startswith("1 of 2 cases failed. case 1 of 2: digits-dm-ipc1, seed 0: The loss")


@pytest.fixture
def waiting(outside, tmp_path):
    """Starts the study in a program of its own, which waits in the middle of its second case."""
    program = (
        "import sys, ddcore, dd_squares as d\n"
        "engine = ddcore.Loky(2) if sys.argv[2:] else None\n"
        "ddcore.run_study(d.Squares(), sys.argv[1], host=ddcore.Host({'squares': d}), engine=engine)"
    )
    env = {**os.environ, "WAITS_AT": "2"}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [env.get("PYTHONPATH")])])

    def start(*words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        run = subprocess.Popen([sys.executable, "-c", program, *words], env=env, cwd=tmp_path, **pipes)
        assert run.stdout.readline() == "waiting\n"
        return run

    return start


def test_an_interrupt_ends_the_processes(waiting, tmp_path):
    run = waiting(tmp_path / "s", "in a process")
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate()  # ends when the last process that holds the pipe does
    assert "KeyboardInterrupt" in said
    ended = {path.parent.name.split("-")[0] for path in (tmp_path / "s" / "cases").glob("*/case.json")}
    assert ended <= {"square_of_1", "square_of_3"}


def test_a_study_that_was_killed_in_mid_case_goes_on_there(outside, waiting, tmp_path):
    run = waiting(tmp_path / "s")
    run.send_signal(signal.SIGKILL)
    run.communicate()
    cases = tmp_path / "s" / "cases"
    (ended,) = cases.glob("*/case.json")
    before = ended.stat().st_mtime_ns
    finding = run_study(outside.Squares(), tmp_path / "s", host=Host({"squares": outside}))
    assert [row[1] for row in finding.rows] == ["1", "4", "9"]
    assert ended.stat().st_mtime_ns == before
    steps = {path.parent.name.split("-")[0]: path.read_text().split() for path in cases.glob("*/steps.txt")}
    assert [who == str(os.getpid()) for who in steps["square_of_2"]] == [False, True], "its second step alone is here"


# --- the grid --------------------------------------------------------------------------------------------

SHORT = ddcore.Protocol(steps=5, repeats=1, networks=(ddcore.MLP(width=8),))


def grid(**fields):
    small = {"network.width": 4, "objective.real": 8}
    usual = {"methods": ("dm", "random"), "seeds": (0, 1), "iterations": 2, "overrides": {"dm": small}}
    return Grid(protocol=SHORT, **{**usual, **fields})


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.usefixtures("own_seeds")
def test_a_grid_is_the_comparison_of_its_experiments_here_and_in_processes(tmp_path):
    finding = run_study(grid(baselines=("herding",)), tmp_path / "a")
    rows = finding.numbers["rows"]
    assert {(row["method"], row["seeds"]) for row in rows} == {("dm", 2), ("random", 2), ("herding", 2)}
    compared = ddcore.compare((tmp_path / "a" / "cases").iterdir())
    assert compared.table() == (finding.head, finding.rows)
    assert (tmp_path / "a" / "compare.png").stat().st_size > 5000
    (recipe,) = (tmp_path / "a" / "cases").glob("digits-dm-ipc1-0-*/recipe.toml")
    assert "iterations = 2" in recipe.read_text()
    changes = ["methods=['dm', 'random']", "seeds=[0, 1]", "iterations=2", "baselines=['herding']", "protocol.steps=5"]
    changes += ["protocol.repeats=1", "protocol.networks=[{name='mlp', width=8}]"]
    changes += ["overrides={dm={'network.width'=4, 'objective.real'=8}}"]
    words = [word for change in changes for word in ("--set", change)]
    done = CliRunner().invoke(app, ["study", "grid", *words, "--workers", "2", "--out", str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a" / "study.toml").read_text() == (tmp_path / "b" / "study.toml").read_text()
    there = json.loads((tmp_path / "b" / "finding.json").read_text())
    assert without_seconds(there["rows"]) == json.loads(json.dumps(without_seconds(rows)))
    assert len(list((tmp_path / "b" / "cases").glob("*/case.json"))) == 4
    assert "case 1 of 4" in done.output and "cases: 4/4" in done.output
    told = CliRunner().invoke(app, ["study", "grid", *words, "--so-far", "--out", str(tmp_path / "b")])
    assert told.exit_code == 0 and "4 of 4 cases have ended." in told.output and "case 1 of 4" not in told.output


def test_experiments_that_differ_in_a_field_have_labels_that_say_it():
    class Widths(ddcore.Experiments):
        def experiments(self, host):
            changes = [{"network.width": width, "seed": seed} for width in (4, 8) for seed in (0, 1)]
            recipes = [host.recipe("dm", kind="image", overrides=change) for change in changes]
            return [ddcore.Experiment(recipe, ddcore.Settings(ddcore.plugin.Digits())) for recipe in recipes]

    assert [str(case) for case in Widths().cases(Host())] == [
        f"digits-dm-ipc1(recipe.network.width={width}), seed {seed}" for width in (4, 8) for seed in (0, 1)
    ]


def test_what_papers_report_stands_beside_where_a_study_says_so(tmp_path, monkeypatch):
    class Beside(ddcore.Grid):
        beside_published = True

    known = {("random", "digits", 1): 12.5}
    monkeypatch.setattr("ddcore.study.experiments.published_accuracy", lambda *cell: known.get(cell))
    study = Beside(**vars(grid(methods=("random",), seeds=(0,), baselines=("herding",))))
    finding = run_study(study, tmp_path)
    assert finding.head[-1] == "published"
    assert {row[0]: row[-1] for row in finding.rows} == {"random": "12.5", "herding": "-"}
    assert "published" not in finding.numbers["rows"][0]


def test_a_grid_says_what_it_lacks():
    with pytest.raises(RecipeRefused, match="at least one method, one number of images per class and one seed"):
        grid(methods=())
    with pytest.raises(ddcore.UnknownName, match="no method named 'dn'"):
        grid(methods=("dn",)).cases(Host())


# --- the command line ------------------------------------------------------------------------------------


class Plugin:
    @staticmethod
    @ddcore.hookimpl
    def ddcore_parts():
        return [Count]


def call(monkeypatch, *words):
    host = Host({"counting": Plugin()})
    monkeypatch.setattr("ddcore.host.Host", lambda: host)
    return CliRunner().invoke(app, ["study", *map(str, words)])


def test_on_the_command_line(monkeypatch, tmp_path):
    out, file = tmp_path / "out", tmp_path / "some.npz"
    np.savez(file, images=np.zeros((20, 8, 8), dtype=np.uint8), labels=np.arange(20) % 2)
    done = call(monkeypatch, "count", "--set", "to=2", "--data", file, "--out", out)
    assert done.exit_code == 0, done.output
    assert "It can count." in done.output
    text = (out / "study.toml").read_text()
    assert "to = 2" in text
    assert str(file) in text
    assert call(monkeypatch, "count", "--set", "starts=[13]", "--out", tmp_path / "bad").exit_code == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["coumt"], "no study named 'coumt'. Did you mean count"),
        (["count", "--set", "too=2"], "no field of count named 'too'"),
        (["count", "--set", "to=many"], "to = 'many' is not usable"),
        (["count", "--data", "mnst"], "no data named 'mnst'"),
        (["count", "--workers", "0"], "workers"),
    ],
)
def test_mistakes_have_a_sentence_and_leave_nothing(monkeypatch, tmp_path, words, sentence):
    done = call(monkeypatch, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


SMALL_TABLE = Table(
    seeds=2,
    methods=("dm", "el2n"),
    protocol=replace(SHORT, repeats=2),
    overrides={
        "dm": {"iterations": 2, "network.width": 4, "objective.real": 8},
        "el2n": {"network.width": 4, "synthetic.fit.steps": 2},
        "herding": {"network.width": 4, "synthetic.fit.steps": 2},
    },
)


def test_a_table_stands_beside_real_images_at_the_bytes_of_float32_ones_and_no_cell_runs_twice(tmp_path, monkeypatch):
    finding = run_study(SMALL_TABLE, tmp_path)
    rows = {row["method"]: row for row in finding.numbers["rows"]}
    assert rows.keys() == {"dm", "el2n", "random", "herding", "whole"}
    assert rows["dm"]["bytes"] == 10 * (256 * 4 + 1)
    assert {rows[name]["bytes"] for name in ("random", "herding", "el2n")} == {10 * 4 * 257}
    assert all(row["seeds"] == 2 and row["std_seeds"] is not None for row in rows.values())
    assert (tmp_path / "bytes.png").exists() and (tmp_path / "minutes.png").exists()
    assert "\\begin{tabular}" in (tmp_path / "finding.tex").read_text()
    monkeypatch.setattr("ddcore.study.table.run_or_resume", lambda *_, **__: pytest.fail("it has ended"))
    for path in tmp_path.glob("cases/*/case.json"):
        if json.loads(path.read_text())["method"] == "dm":
            path.rename(path.with_name("later.json"))
    part = so_far(SMALL_TABLE, tmp_path)
    assert {row["method"] for row in part.numbers["rows"]} == rows.keys() - {"dm"}
    assert part.says.startswith("6 of 8 cases have ended.") and "or not ended): dm." in part.says
    for path in tmp_path.glob("cases/*/later.json"):
        path.rename(path.with_name("case.json"))
    again = run_study(replace(SMALL_TABLE, seeds=1), tmp_path)
    assert {row["method"]: row["seeds"] for row in again.numbers["rows"]} == dict.fromkeys(rows, 1)


def test_a_cell_is_of_its_data_and_its_version(monkeypatch):
    def folders():
        return [case.folder for case in SMALL_TABLE.cases(Host())]

    first = folders()
    assert folders() == first
    monkeypatch.setattr("ddcore.study.table.version", lambda name: "another")
    assert not {*folders()} & {*first}


def test_minutes_give_iterations_by_the_time_of_the_first_once_for_a_cell(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 6))
    monkeypatch.setattr("ddcore.study.table.time.process_time", lambda: next(clock))
    plan = replace(SMALL_TABLE, seeds=1, methods=("dm",), minutes=(1.0, 2.0))
    monkeypatch.setattr("ddcore.study.table.run_or_resume", None)
    with pytest.raises(ddcore.CasesFailed):
        run_study(plan, tmp_path)
    kept = sorted(json.loads(path.read_text())["iterations"] for path in tmp_path.glob("cases/*/budget.json"))
    assert kept == [60 // 6, 120 // 6]


def test_what_single_steps_take_besides_counts_once_among_the_minutes(tmp_path, monkeypatch):
    now, costs = [0.0], [20.0, 0.5, 10.0, 0.5, 0.5, 0.5, 0.5]
    monkeypatch.setattr("ddcore.study.table.time.process_time", lambda: now[0])

    class Costly:
        step = 0

        def run_until(self, until):
            now[0] += costs[self.step]
            self.step = until

    monkeypatch.setattr(Host, "start", lambda *_, **__: Costly())
    monkeypatch.setattr("ddcore.study.table.run_or_resume", None)
    with pytest.raises(ddcore.CasesFailed):
        run_study(replace(SMALL_TABLE, seeds=1, methods=("dm",), minutes=(1.0,)), tmp_path)
    (kept,) = tmp_path.glob("cases/*/budget.json")
    assert json.loads(kept.read_text())["iterations"] == int((60 - 19.5 - 9.5) / 0.5)


def test_a_method_whose_minutes_are_over_before_its_first_step_has_a_row_that_says_so(tmp_path):
    overrides = {**SMALL_TABLE.overrides, "mtt": {"network.width": 4, "policy.experts": 1000}}
    plan = replace(SMALL_TABLE, seeds=1, methods=("mtt", "dm"), minutes=(0.01,), overrides=overrides)
    finding = run_study(plan, tmp_path)
    rows = {row["method"]: row for row in finding.numbers["rows"]}
    assert rows["dm"]["begun"] and not rows["mtt"]["begun"] and rows["mtt"]["iterations"] == 0
    (cells,) = [row for row in finding.rows if row[2].startswith("mtt")]
    assert cells[2:6] == ["mtt (0.01 min)", "-", "not begun", "-"]
    assert "were over before their first step: mtt on digits, ipc 1, 0.01 min, seed 0." in finding.says
    assert "Infinity" not in json.dumps(finding.numbers)
    panels = [panel for plot in finding.plots for row in plot.panels for panel in row]
    lines = [line for panel in panels for line in panel.lines]
    assert lines and "mtt" not in {line.label for line in lines}
    assert [0.01] in [list(line.x or ()) for line in lines if line.label == "dm"], "at the minutes that it was given"


def test_a_cell_of_whole_minutes_is_that_of_minutes():
    one, same = (replace(SMALL_TABLE, minutes=minutes) for minutes in ((1, 2), (1.0, 2.0)))
    assert [case.folder for case in one.cases(Host())] == [case.folder for case in same.cases(Host())]


def test_all_methods_are_those_that_suit_the_data_and_one_that_is_named_must(host):
    methods = {case.description["recipe"].name for case in Table(seeds=1).cases(host)}
    assert {"random", "herding", "dm", "mtt", "kfs", "rded"} <= methods
    with pytest.raises(RecipeRefused, match="leave no base"):
        Table(methods=("haba",), overrides={"haba": {"synthetic.width": 99999}}).cases(host)


def test_fields_of_all_methods_are_changed_at_once_and_each_may_differ(host):
    table = replace(SMALL_TABLE, overrides={"all": {"network": {"width": 4}}, "dm": {"network.width": 8}})
    widths = {(recipe := case.description["recipe"]).name: recipe.network.width for case in table.cases(host)}
    assert widths == {"random": 4, "herding": 4, "el2n": 4, "dm": 8}


def test_a_field_of_a_study_is_an_option_with_commas(monkeypatch, tmp_path):
    done = call(monkeypatch, "count", "--to", "2", "--starts", "0,1", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "to = 2" in (tmp_path / "study.toml").read_text()
    for words, sentence in (
        (["--too", "2"], "no option named '--too'"),
        (["--to"], "--to needs a value"),
        (["stray"], "stray belongs to no option"),
        (["--to=many"], "to = 'many' is not usable"),
    ):
        done = call(monkeypatch, "count", *words, "--out", tmp_path / "none")
        assert done.exit_code == 2 and sentence in " ".join(done.output.split())


def test_published_numbers_are_of_methods_and_data_that_there_are(host):
    import tomllib

    import ddcore.published
    from ddcore.published import published_accuracy

    table = tomllib.loads((Path(ddcore.published.__file__).with_suffix(".toml")).read_text())
    assert published_accuracy("dm", "nothing", 1) is None
    for method, by_data in table.items():
        assert method == "whole" or host.catalogue.find("method", method)
        for data, by_ipc in by_data.items():
            host.catalogue.find("data", data)
            assert all(0 < published_accuracy(method, data, int(ipc)) < 100 for ipc in by_ipc)
