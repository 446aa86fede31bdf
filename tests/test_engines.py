"""Engines: the same results whatever they run on, workers that die, what is left behind, what is missing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore import Host, RecipeRefused, load_distilled, run_study
from ddcore.cli import app
from ddcore.plugin import Dask, Local, Loky, Parallel, Ray
from ddcore.study.engine import DIED, Failure, Pool
from ddcore.study.ray import STARTS, ray_at_home
from ddcore.study.ray import _start as start_ray


class Died(Exception):
    pass


@dataclass(frozen=True)
class Threads(Parallel):
    """Workers that are threads: each item takes so many of them with it."""

    deaths: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def pool(self, workers):
        left = Counter(self.deaths)

        def run(call):
            item = call.args[1]
            left[item] -= 1
            if left[item] >= 0:
                raise Died
            return call()

        with ThreadPoolExecutor(workers) as threads:
            yield Pool(lambda call: threads.submit(run, call), (Died,))


def test_an_item_is_begun_three_times_at_most_and_no_other_again():
    work, items, begun = str.upper, ["a", "b", "c", "d", "e"], []

    def noted(item, progress):
        assert progress is None
        begun.append(item)
        return work(item)

    engine = Threads(2, {"a": 1, "c": 2, "d": 3})
    came = dict(engine.each(noted, items, lambda item: print, lambda item: None))
    assert came == {"a": "A", "b": "B", "c": "C", "d": Failure(DIED), "e": "E"}
    assert sorted(begun) == ["a", "b", "c", "e"]


def test_what_goes_wrong_otherwise_ends_it_all():
    def breaks(item, progress):
        raise MemoryError("of the engine")

    with pytest.raises(MemoryError):
        list(Threads(2).each(breaks, ["a", "b"], lambda item: print, lambda item: None))


def test_items_at_work_are_heard_of():
    heard, waits = [], threading.Event()

    def hear(item):
        heard.append(item)
        waits.set()

    outcomes = Threads(1).each(lambda item, progress: waits.wait(), ["a"], lambda item: print, hear)
    assert list(outcomes) == [("a", True)]
    assert heard == ["a"]
    assert list(Threads(1).each(breakpoint, [], lambda item: print, hear)) == []


def test_an_engine_has_a_worker_per_core_by_default_and_no_more_than_items(monkeypatch):
    asked = []
    monkeypatch.setattr(Threads, "pool", lambda self, workers: asked.append(workers) or nullcontext())
    monkeypatch.setattr("ddcore.study.engine.cpu_count", lambda: 3)
    for engine, items in ((Threads(), 5), (Threads(), 2), (Threads(4), 5)):
        with pytest.raises(AttributeError):
            next(engine.each(print, [0] * items, print, print))
    assert asked == [3, 2, 4]


# --- the real ones ---------------------------------------------------------------------------------------

MODULE = '''
"""A plugin that is not installed: a grid whose workers kill themselves."""

import os
import signal
from dataclasses import dataclass, field
from typing import ClassVar

import ddcore


@dataclass(frozen=True)
class Deadly(ddcore.Grid):
    """Cases that note each of their lives; in so many of them, by seed, they die at the fourth update."""

    chooses: ClassVar[frozenset[str]] = ddcore.Grid.chooses | {"lives"}

    lives: dict[str, int] = field(default_factory=dict)

    def run(self, case, folder, host, device, progress):
        with (folder / "lives.txt").open("a") as file:
            file.write(f"{os.getpid()} ")
        life = len((folder / "lives.txt").read_text().split())

        def told(what, done, of):
            progress(what, done, of)
            if what.startswith("distilling") and done == 4 and life <= self.lives.get(str(case.seed), 0):
                os.kill(os.getpid(), signal.SIGKILL)

        return super().run(case, folder, host, device, told)


@ddcore.hookimpl
def ddcore_parts():
    return [Deadly]
'''
SHORT = ddcore.Protocol(steps=5, repeats=1, networks=(ddcore.MLP(width=8),))
SMALL = {"dm": {"network.width": 4, "objective.real": 8}}


def started(engine, library):
    """A test with ``engine``, whose ``library`` may not be installed."""
    missing = pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")
    return pytest.param(engine, marks=missing, id=engine.part_name())


ENGINES = [started(Loky(2), "joblib"), started(Ray(2), "ray"), started(Dask(2), "distributed")]


@pytest.fixture
def deadly(tmp_path, monkeypatch):
    """A module beside no distribution, where this process and its children find it."""
    (tmp_path / "dd_deadly.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dd_deadly", raising=False)
    import dd_deadly

    return dd_deadly


def study(deadly, **fields):
    usual = {"methods": ("dm",), "seeds": (0, 1, 2, 3), "iterations": 6, "overrides": SMALL, "protocol": SHORT}
    return deadly.Deadly(**{**usual, **fields})


def found(folder):
    """All that the study has found but seconds and memory: its table, its numbers, the bits of its sets."""
    finding = json.loads((folder / "finding.json").read_text())
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in finding["rows"]]
    cases = sorted(path.parent for path in (folder / "cases").glob("*/case.json"))
    numbers = [json.loads((case / "case.json").read_text()) for case in cases]
    for one in numbers:
        del one["seconds"], one["peak_mib"], one["facts"]["seconds"]
    sets = [load_distilled(case / "distilled.safetensors") for case in cases]
    return rows, numbers, [(one.inputs.numpy().tobytes(), one.targets.tolist()) for one in sets]


def lives(folder):
    return {path.parent.name[:-9]: len(path.read_text().split()) for path in (folder / "cases").glob("*/lives.txt")}


PROGRAM = """
import json
import sys
import ddcore, dd_deadly
from ddcore import plugin as dd

def told(*said):
    print(*said, flush=True)

if __name__ == "__main__":
    folder, engine, seeds, iterations, lives = sys.argv[1:]
    plan = dd_deadly.Deadly(
        methods=("dm",),
        seeds=tuple(range(int(seeds))),
        iterations=int(iterations),
        overrides={"dm": {"network.width": 4, "objective.real": 8}},
        protocol=ddcore.Protocol(steps=5, repeats=1, networks=(ddcore.MLP(width=8),)),
        lives=json.loads(lives),
    )
    host = ddcore.Host({"deadly": dd_deadly})
    try:
        ddcore.run_study(plan, folder, host=host, engine=getattr(dd, engine)(2), progress=told)
    except ddcore.CasesFailed as error:
        told(error)
"""


@pytest.fixture
def program(deadly, tmp_path):
    """Starts a program that runs a study with an engine: libraries may leave in it what they like."""
    (tmp_path / "program.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    runs = []

    def start(folder, engine, seeds, iterations, lives=None, **more):
        words = [folder, type(engine).__name__, seeds, iterations, json.dumps(lives or {})]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        words = [sys.executable, tmp_path / "program.py", *map(str, words)]
        runs.append(run := subprocess.Popen(words, env=env | more, cwd=tmp_path, **pipes))
        return run

    yield start
    for run in runs:
        run.kill()
        run.wait()
        run.stdout.close()


@pytest.mark.slow
@pytest.mark.usefixtures("own_seeds")
@pytest.mark.parametrize("engine", ENGINES)
def test_workers_that_are_killed_in_mid_case_change_nothing(engine, deadly, program, tmp_path):
    """Seed 1 is killed once, seed 2 each time it is begun, until it is begun here."""
    host, here, there = Host({"deadly": deadly}), tmp_path / "here", tmp_path / "there"
    run_study(study(deadly), here, host=host, engine=Local())
    said, _ = program(there, engine, 4, 6, {"1": 1, "2": 9}).communicate()
    assert f"1 of 4 cases failed. case 3 of 4: digits-dm-ipc1, seed 2: {DIED}. The other" in said
    (log,) = there.rglob("failed.txt")
    assert log.read_text() == f"{DIED}.\n"
    begun = {"digits-dm-ipc1-0": 1, "digits-dm-ipc1-1": 2, "digits-dm-ipc1-2": 3, "digits-dm-ipc1-3": 1}
    assert lives(there) == begun
    assert [line for line in said.splitlines() if line.startswith("cases ")] == [f"cases {i} 4" for i in range(5)]
    assert run_study(study(deadly), there, host=host, engine=Local()).rows
    assert found(there) == found(here)
    assert lives(there) == {**begun, "digits-dm-ipc1-2": 4}
    assert not [*there.rglob("*progress.json*"), *there.rglob("failed.txt")]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES[2:])
def test_workers_that_are_taken_for_lost_are_replaced(engine, program, tmp_path):
    """All workers die at once, and none is back before the cluster gives it up."""
    lost = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "0s"}
    said, _ = program(tmp_path / "there", engine, 2, 6, {"0": 1, "1": 1}, **lost).communicate()
    assert "cases 2 2" in said.splitlines(), said
    assert lives(tmp_path / "there") == {"digits-dm-ipc1-0": 2, "digits-dm-ipc1-1": 2}


@pytest.fixture
def at_work(program, tmp_path):
    """Starts a study without an end; answers its program once both cases have told how far they are."""

    def start(engine):
        run = program(tmp_path / "s", engine, 2, 10**6)
        said, wanted = [], {"case 1 of 2", "case 2 of 2"}
        while wanted:
            said.append(line := run.stdout.readline())
            assert line, "".join(said)
            wanted.discard(line.partition(":")[0] if ": distilling" in line else "")
        return run

    return start


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_workers_end_with_the_program_however_that_ends(engine, number, at_work, tmp_path):
    run = at_work(engine)
    workers = [path.read_text().strip() for path in tmp_path.glob("s/cases/*/lives.txt")]
    assert len(workers) == 2
    assert not any(map(gone, workers))
    run.send_signal(number)
    said, _ = run.communicate()
    while not all(map(gone, workers)):
        time.sleep(0.05)
    assert number == signal.SIGKILL or "KeyboardInterrupt" in said


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_to_be_reached_from_another_machine(engine, at_work):
    psutil = pytest.importorskip("psutil")
    run = at_work(engine)
    family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert listening or isinstance(engine, Loky)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("by", ["address", "file"])
def test_the_workers_of_a_cluster_of_dask_are_taken_and_left(by, deadly, tmp_path):
    distributed = pytest.importorskip("distributed")
    place = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**place) as cluster, distributed.Client(cluster) as client:
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        scheduler = cluster.scheduler_address if by == "address" else str(tmp_path / "scheduler.json")
        plan, host = study(deadly, methods=("random",)), Host({"deadly": deadly})
        assert len(run_study(plan, tmp_path / "s", host=host, engine=Dask(2, scheduler)).rows) == 1
        ran = {path.read_text().strip() for path in tmp_path.glob("s/cases/*/lives.txt")}
        assert ran <= {str(pid) for pid in client.run(os.getpid).values()}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_that_cannot_be_used_is_refused(deadly, tmp_path):
    distributed = pytest.importorskip("distributed")
    place = {"n_workers": 1, "threads_per_worker": 2, "host": "127.0.0.1", "dashboard_address": None}
    plan, host = study(deadly, methods=("random",)), Host({"deadly": deadly})
    few = pytest.raises(RecipeRefused, match="Start each with one thread")
    with distributed.LocalCluster(**place) as cluster, few:
        run_study(plan, tmp_path, host=host, engine=Dask(2, cluster.scheduler_address))
    with pytest.raises(RecipeRefused, match="The scheduler nowhere cannot be reached"):
        run_study(plan, tmp_path, host=host, engine=Dask(2, "nowhere"))


SLOW = """
import sys
import ray
import ddcore
from ddcore.plugin import Ray

init, tries = ray.init, []

def slow(*given, **named):
    tries.append(given)
    if len(tries) <= int(sys.argv[2]):
        raise Exception("The current node timed out during startup.")
    return init(*given, **named)

if __name__ == "__main__":
    ray.init = slow
    try:
        print(len(ddcore.run_study(ddcore.Grid(methods=("random",)), sys.argv[1], engine=Ray(1)).rows))
    except ddcore.RecipeRefused as error:
        print(error)
    print(len(tries), "tries")
"""


@pytest.mark.parametrize(("failing", "said"), [(1, "1\n2 tries"), (STARTS, f"did not start in {STARTS} tries")])
def test_ray_is_started_again_where_a_busy_machine_was_too_slow(tmp_path, failing, said):
    pytest.importorskip("ray")
    (tmp_path / "slow.py").write_text(SLOW)
    words = [sys.executable, tmp_path / "slow.py", tmp_path / "study", str(failing)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert said in run.stdout, run.stderr


class StubRay:
    """Fails to start with each of ``errors`` in turn, and then starts."""

    def __init__(self, *errors, running=False):
        self.errors, self.running = list(errors), running
        self.tries = self.ended = 0

    def init(self, *given, **named):
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)

    def is_initialized(self):
        return self.running

    def shutdown(self):
        self.ended += 1


@pytest.mark.parametrize("said", ["it took too long", "it took too long.", "it took\n too long.\n"])
def test_a_start_that_never_succeeds_says_what_ray_said(said):
    ray = StubRay(*[Exception(said)] * STARTS)
    with pytest.raises(RecipeRefused, match=r"last of which said: it took too long\. Leave it more"):
        start_ray(ray, {})
    assert ray.tries == ray.ended == STARTS


@pytest.mark.parametrize("error", [ValueError("no such port"), TypeError("it"), PermissionError("folder"), OSError()])
def test_what_no_other_start_would_help_is_refused_at_once(error):
    ray = StubRay(error)
    with pytest.raises(RecipeRefused, match=r"Ray did not start: .+\. Correct that"):
        start_ray(ray, {})
    assert ray.tries == 1


@pytest.mark.parametrize("error", [RuntimeError("node"), TimeoutError("30 s"), ConnectionError("gcs")])
def test_what_another_start_may_help_is_started_again(error):
    ray = StubRay(error)
    start_ray(ray, {})
    assert ray.tries == 2


def test_a_session_of_ray_that_the_user_has_is_left_alone(monkeypatch, tmp_path):
    ray = StubRay(running=True)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("ddcore.study.ray.find_spec", lambda name: True)
    with pytest.raises(RecipeRefused, match=r"has a session in this process already.*ray\.shutdown\(\)"):
        run_study(ddcore.Grid(), tmp_path / "s", engine=Ray(1))
    with pytest.raises(RecipeRefused, match="has a session"), ray_at_home(1):
        pytest.fail("it has a home")
    assert (ray.tries, ray.ended) == (0, 0) and not (tmp_path / "s").exists()


# --- the command line ------------------------------------------------------------------------------------


def call(*words):
    done = CliRunner().invoke(app, ["study", "grid", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(("engine", "package"), [(Ray, "ray"), (Dask, "distributed")])
def test_an_engine_that_is_not_installed_is_refused_with_what_to_install(engine, package, monkeypatch, tmp_path):
    name = engine.part_name()
    monkeypatch.setattr(f"ddcore.study.{name}.find_spec", lambda asked: None if asked == package else True)
    status, said = call("--engine", name, "--out", tmp_path / "s")
    assert (status, said) == (
        2,
        f"Error: The engine {name} needs the package {package}: pip install 'ddcore[{name}]'.",
    )
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "lokky"], "no engine named 'lokky'. Did you mean loky"),
        (["--engine", "loky,ray"], "name one engine"),
        (["--engine", "loky(jobs=2)"], "no field of loky named 'jobs'"),
        (["--engine", "local", "--workers", "2"], "the engine local runs one case at a time"),
        (["--workers", "0"], "workers"),
    ],
)
def test_mistakes_have_a_sentence_and_leave_nothing(tmp_path, words, sentence):
    status, said = call(*words, "--out", tmp_path / "s")
    assert status == 2
    assert sentence in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("words", "engine"),
    [
        ([], Local()),
        (["--workers", "1"], Local()),
        (["--workers", "3"], Loky(3)),
        (["--engine", "loky", "--workers", "1"], Loky(1)),
        (["--engine", "ray"], Ray()),
        (["--engine", "dask(scheduler=tcp://127.0.0.1:8786)", "--workers", "3"], Dask(3, "tcp://127.0.0.1:8786")),
    ],
)
def test_engines_by_name(monkeypatch, words, engine):
    def asked(*_, **given):
        raise RecipeRefused(repr(given["engine"]))

    monkeypatch.setattr("ddcore.study.running.run_study", asked)
    assert repr(engine) in call(*words)[1]


# --- random moments --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.usefixtures("own_seeds")
@pytest.mark.parametrize("engine", ENGINES)
def test_workers_killed_at_random_moments(engine, deadly, program, tmp_path, recorded):
    """Twenty runs, in each of which a worker is killed at a moment of its own."""
    plan, moments, hits = study(deadly, seeds=(0, 1, 2), iterations=60), random.Random(0), 0
    run_study(plan, tmp_path / "here", host=Host({"deadly": deadly}))
    wanted = found(tmp_path / "here")
    for i in range(20):
        folder = tmp_path / str(i)
        run = program(folder, engine, 3, 60)
        while not list(folder.glob("cases/*/lives.txt")):
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 4))
        at_work = [p for p in folder.glob("cases/*/lives.txt") if not (p.parent / "case.json").exists()]
        if at_work:
            os.kill(int(min(at_work).read_text().split()[-1]), signal.SIGKILL)
        run.communicate()
        assert run.returncode == 0
        assert found(folder) == wanted
        again = [n for n in lives(folder).values() if n > 1]
        assert len(again) <= 1
        hits += len(again)
    recorded({"runs": 20, "killed in mid-case": hits})
