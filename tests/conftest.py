"""What the tests share: small real data and a host."""

import copy
import json
import multiprocessing
import os
import resource
import shutil
import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ddcore.rng
from ddcore import ConvNet, Host, RealData, Recipe, load
from ddcore.testing import tiny_images

# One thread, here and in the programs that tests start: threads that wait for a busy core cost more than they give.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))

# A shell's background jobs begin with interrupts ignored, and so would the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing is read that an earlier run of the tests, or the one who runs them, has left.
os.environ["DDCORE_CACHE"] = ""


def pytest_addoption(parser):
    parser.addoption(
        "--shift-seeds",
        type=int,
        default=0,
        help="Add this to every seed, of tests and of ddcore's streams: what then fails had passed by luck.",
    )


def pytest_configure(config):
    shift = config.getoption("--shift-seeds")
    if not shift:
        return

    class Shifted(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + shift)

    seed_of = ddcore.rng._seed_of
    torch.Generator = Shifted
    ddcore.rng._seed_of = lambda text: seed_of(f"{text} moved by {shift}")


@pytest.fixture
def own_seeds(request):
    """Of tests that compare with what other programs make, whose seeds are not moved."""
    if request.config.getoption("--shift-seeds"):
        pytest.skip("seeds are moved here, and not in the programs that this test starts")


LONGEST = ("test_scenarios", "test_kills", "test_pairs", "test_study", "test_experiment", "test_blocks", "test_audit")


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker is left with one of them when the others are done."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


SHARED = Path(os.environ.get("DDCORE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


LOADED = ["ddcore.cli.experiments", "ddcore.cli.lists", "ddcore.experiment.running", "ddcore.report.comparison"]
LOADED += ["ddcore_private", "ddcore_replay", "ddcore_federated", "ddcore_robust", "ddcore_backdoor"]
LOADED += ["sklearn.datasets", "torch._dynamo"]
"""What most commands import, which takes seconds."""


class Program:
    """A program in a process of its own, forked from one that has imported ddcore and done nothing else."""

    forks = multiprocessing.get_context("forkserver")

    def __init__(self, log: Path, code: str) -> None:
        """What ``code`` says goes to ``log``."""
        self.log = log
        heard = (
            f"import os, sys\nlog = os.open({str(log)!r}, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)\n"
            "os.dup2(log, 1)\nos.dup2(log, 2)\n"
        )
        self.forks.set_forkserver_preload(LOADED)
        self.process = self.forks.Process(target=exec, args=(heard + code, {"__name__": "__main__"}))
        self.process.start()

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def ended(self) -> tuple[int, str]:
        """Its exit status, negative for a signal, and what it said."""
        self.process.join()
        return self.process.exitcode, self.log.read_text()


@pytest.fixture(scope="session")
def started(tmp_path_factory):
    """Starts code as a :class:`Program`."""
    logs, programs = tmp_path_factory.mktemp("programs"), []

    def start(code):
        programs.append(Program(logs / str(len(programs)), code))
        return programs[-1]

    yield start
    for one in programs:
        one.process.kill()
        one.process.join()


@pytest.fixture(scope="session")
def program(started):
    """Starts the command line with the given words: ``program("distill", "dm", before="...")``."""

    def start(*words, before=""):
        words = [str(word) for word in words]
        return started(f"sys.argv[:] = ['ddcore']\n{before}\nfrom ddcore.cli import app\napp({words!r})")

    return start


@pytest.fixture(scope="session")
def script(started):
    """Runs a Python file to its end, with the given words, in a folder; its exit status, and what it said."""

    def run(path, *words, folder=".", before=""):
        words = [str(path), *map(str, words)]
        return started(
            f"import runpy\nos.chdir({str(folder)!r})\nsys.argv[:] = {words!r}\n"
            f"sys.path.insert(0, os.path.dirname({words[0]!r}))\n{before}\n"
            f"runpy.run_path({words[0]!r}, run_name='__main__')"
        ).ended()

    return run


@pytest.fixture(scope="session")
def digits() -> RealData:
    return load("digits")


@pytest.fixture(scope="session")
def tiny() -> RealData:
    """Three classes of 1x8x8."""
    return tiny_images(8)


@pytest.fixture
def gpu() -> str:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return "cuda"


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture(scope="session")
def small():
    """A recipe made small enough for a test."""

    def shrink(recipe, **fields):
        network = recipe.network if isinstance(recipe.network, ConvNet) else ConvNet()
        changes = {"network": replace(network, width=4, depth=2), **fields}
        if hasattr(recipe.objective, "real"):
            changes["objective"] = replace(recipe.objective, real=4)
        return replace(recipe, **changes)

    return shrink


@pytest.fixture
def distilled_twice(host):
    """What ``recipe`` makes, straight through and stopped after two steps: alike, and no image where it began."""

    def distil(recipe, data):
        straight, again = host.start(recipe, data), host.start(recipe, data)
        straight.start()
        start = straight.synthetic.everything()[0].detach().clone()
        straight.run_until(until=2)
        again.load_state_dict(copy.deepcopy(straight.state_dict()))
        for run in (straight, again):
            run.run_until()
        found = straight.export()
        assert torch.equal(found.inputs, again.export().inputs)
        assert (found.inputs != start).flatten(1).any(1).all()
        assert Recipe.from_toml(found.recipe, host.catalogue) == straight.recipe
        return found

    return distil


@pytest.fixture
def shared(tmp_path):
    """Copies a folder or file of the real data to a place where loaders may write."""

    def copy(name: str) -> Path:
        source = SHARED / name
        if not source.exists():
            pytest.skip(f"the real data {name} are not at {SHARED} (set DDCORE_TEST_DATA to their folder)")
        target = tmp_path / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        return target

    return copy


@contextmanager
def bounded_memory(more=2**30):
    """What is allocated beyond ``more`` bytes fails."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    (now,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(now) + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


@pytest.fixture
def recorded(request):
    """Adds what a test has counted to the file that ``DDCORE_TEST_RECORD`` names, under the test's name."""

    def add(counts):
        if record := os.environ.get("DDCORE_TEST_RECORD"):
            with FileLock(f"{record}.lock"):
                path = Path(record)
                told = json.loads(path.read_text()) if path.exists() else {}
                path.write_text(json.dumps({**told, request.node.name: dict(counts)}, indent=1, sort_keys=True) + "\n")

    return add


@pytest.fixture
def fuzz(recorded):
    """Tries ``attack(draw)`` so often, always the same cases, within 1 GiB, and counts what it answers."""

    def tried(attack, cases):
        counts = Counter()

        @settings(
            max_examples=cases, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(st.data())
        def one(data):
            counts[attack(data.draw)] += 1

        with bounded_memory():
            one()
        recorded({"cases": counts.total(), **counts})
        return counts

    return tried
