"""One run over several processes makes what one process makes; they write once, and end together."""

import json
import os
import re
import socket

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddcore import Folder, load_distilled
from ddcore.ranks import Ranks, joined, ranks
from ddcore.recipes import METHODS

WORKER = """
import copy, json, os, runpy, sys
from dataclasses import replace
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from ddcore import Host
from ddcore.ranks import Ranks, joined, ranks
from ddcore.types import Group
from ddcore.losses import cross_entropy
from conftest import small, tiny
small, tiny = small.__wrapped__(), tiny.__wrapped__()
host = Host()
"""


@pytest.fixture
def together(started):
    """Runs code, or words on the command line, in so many processes that share a run; what each has answered."""

    def start(count, code):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return [
            started(
                "\n".join(
                    f"os.environ[{name!r}] = '{value}'" for name, value in {**made, "RANK": r, "LOCAL_RANK": r}.items()
                )
                + f"\n{code}"
            )
            for r in range(count)
        ]

    return start


@pytest.fixture
def worked(together):
    """Runs code after ``WORKER`` in so many processes; what the last line of each says, as JSON."""

    def work(count, code):
        code = WORKER.format(tests=os.path.dirname(__file__)) + code
        ended = [program.ended() for program in together(count, code)]
        assert all(status == 0 for status, _ in ended), "\n".join(said for _, said in ended)
        return [json.loads(said.splitlines()[-1]) for _, said in ended]

    return work


@given(st.integers(0, 300), st.integers(1, 40))
def test_shares_are_a_partition_as_even_as_can_be(n, count):
    parts = [range(n)[Ranks(number, count).share(n)] for number in range(count)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.distributed, "init_process_group", None)
    values = [{"a": torch.ones(2)}]
    with joined("cuda:1") as device:
        assert (device, ranks()) == ("cuda:1", Ranks())
        assert ranks().summed(values)[0]["a"] is values[0]["a"]


RECIPES = """
from test_recipes import TABLE, LEARNED, fitted, made, tensors

def steps(recipe, data=tiny):
    run = host.start(recipe, data)
    run.run_until(until=2)
    return [value.double() for value in tensors(run)], run

def private(name):
    recipe = host.recipe(name, ipc=2, iterations=3, overrides={{}} if name == "dosser" else {{}})
    return small(recipe, seed=3)
""".replace("{{}}", "{}")

EVERY = """
ALONE = {}
names = [name for i, name in enumerate(TABLE) if i % PARTS == PART]
for name in names if os.environ["RANK"] == "0" else ():
    ALONE[name] = steps(made(host, small, name))[0]
apart = {}
with joined("cpu"):
    for name in names:
        found, _ = steps(made(host, small, name))
        if ranks().first:
            pairs = zip(found, ALONE[name], strict=True)
            apart[name] = max(float((a - b).norm() / b.norm()) for a, b in pairs)
print(json.dumps(apart))
"""


@pytest.mark.parametrize("part", range(2))
def test_two_steps_of_every_recipe_are_those_of_one_process(worked, part):
    apart, _ = worked(2, RECIPES + EVERY.replace("PARTS", "2").replace("PART", str(part)))
    assert len(apart) == len(METHODS[part::2])
    assert max(apart.values()) < 1e-5, apart


EXACT = """
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
apart = {}
names = ("dm", "dc", "mtt", "frepo", "sre2l", "kip", "dd")
def found(name):
    tensors, run = steps(made(host, small, name))
    experts = [w for way in run.policy.get("experts", {}).values() for point in way for w in point.values()]
    return [*tensors, *experts, *run.gate.statistics().values(), *run.gate.statistics(pixels=True).values()]
alone = {name: found(name) for name in names}
with joined("cpu"):
    for name in names:
        shared = found(name)
        assert len(shared) == len(alone[name]) > (20 if name == "mtt" else 5), len(shared)
        assert all(value.dtype == torch.float64 for value in shared if value.is_floating_point())
        apart[name] = max(float((a - b).norm() / b.norm()) for a, b in zip(shared, alone[name], strict=True))
print(json.dumps(apart))
"""


@pytest.mark.parametrize("count", [2, 4])
def test_in_float64_they_agree_to_ten_digits(worked, count):
    for apart in worked(count, RECIPES + EXACT):
        assert max(apart.values()) < 1e-10, apart


OTHERS = """
from test_views import Pgd, Trigger
from dataclasses import dataclass
from ddcore import ConvNet, ModuleNetwork, NetworkPlan
from torch import nn

class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.features(x))

@dataclass(frozen=True)
class Drawing(NetworkPlan):
    def build(self, card):
        return ModuleNetwork(Dropping)

plain = host.recipe("dm", ipc=1, iterations=3, overrides={"synthetic.init": "noise"})
CASES = {
    "a view that draws": replace(small(plain), views=(Pgd(), Trigger())),
    "items that see each other": replace(small(plain), network=ConvNet(width=4, depth=2, norm="batch")),
    "a network that draws": replace(small(plain), network=Drawing()),
    "mixed batches": small(host.recipe("mtt", ipc=1, iterations=3, overrides={
        "objective.steps": 2, "policy.fit.cutmix": 1.0, **fitted("policy.fit")})),
    "more processes than items": replace(small(plain), objective=replace(plain.objective, real=1)),
}
alone = {name: steps(recipe)[0] for name, recipe in CASES.items()}
exchanged = Ranks._exchanged
counted = []
Ranks._exchanged = lambda self, *asked: counted.append(self.count) or exchanged(self, *asked)
found = {}
with joined("cpu"):
    for name, recipe in CASES.items():
        counted.clear()
        shared, _ = steps(recipe)
        apart = max(float((a - b).norm() / b.norm()) for a, b in zip(shared, alone[name], strict=True))
        found[name] = [apart, max(counted, default=1)]
print(json.dumps(found))
"""


def test_what_cannot_be_divided_is_computed_by_each(worked):
    for found in worked(3, RECIPES + OTHERS):
        assert all(apart < 1e-5 for apart, _ in found.values()), found
        whole = ("items that see each other", "a network that draws")
        assert {name: count for name, (_, count) in found.items()} == {
            name: 1 if name in whole else 3 for name in found
        }


MEMORY = """
from ddcore import ConvNet
from ddcore.gate.open import Open
from ddcore.chunking import _Sizes
recipe = replace(small(host.recipe("dc")), network=ConvNet(width=8, depth=2), gate=Open(max_bytes=2**30))
run = host.start(recipe, tiny)
run.start()
draw, groups = run.ctx.fresh(), [Group((c,)) for c in range(3)]

def most():
    sizes = []
    for ask in (lambda: run.gate.gradient(draw, groups, cross_entropy), lambda: run.gate.features(draw, groups)):
        ask()
        with _Sizes() as seen:
            ask()
        sizes.append(max(seen.floats))
    return sizes

alone = most()
with joined("cpu"):
    print(json.dumps([alone, most()]))
"""


def test_two_processes_hold_half_of_the_activations_each(worked):
    for alone, shared in worked(2, MEMORY):
        assert alone[0] >= 20 * 8 * 64, "a class at once, 8 maps of 8x8"
        assert alone[1] >= 60 * 8 * 64
        assert [2 * number for number in shared] == alone


PRIVATE = """
import math
os.urandom = lambda n, own=os.environ["RANK"]: own.encode() * n
groups = [Group((0,), 6), Group((1, 2), 12)]

def answers():
    noise = {"plugins.private.noise_multiplier": 1.0, "plugins.private.epsilon": 1000.0}
    recipe = small(host.recipe("psg", ipc=1, iterations=4, overrides=noise), seed=3)
    run = host.start(recipe, tiny)
    run.run_until(until=2)
    draw = run.ctx.fresh()
    found = [value for answer in run.gate.gradient(draw, groups, cross_entropy) for value in answer.values()]
    found += [*run.gate.features(draw, groups), *tensors(run), *run.rng._secret["noise"].get_state()[None]]
    told = [run.gate.facts()["privacy"], run.gate.spent().epsilon, run.gate.ledger()]
    return [value.double().flatten().tolist() for value in found], json.loads(json.dumps(told)), run

alone, certificate, _ = answers()
with joined("cpu"):
    shared, same, run = answers()
    run.rng.renew_secrets()
    roots = run.rng._root.hex()
print(json.dumps([alone, shared, certificate, same, roots]))
"""


def test_a_private_gate_clips_apart_and_noises_once(worked):
    """With the first process's secrets alone it answers what they answer together: the same draws, the same noise."""
    (first, *others) = worked(2, RECIPES + PRIVATE)
    alone, shared, certificate, same, root = first
    for ours, theirs in zip(alone, shared, strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=1e-5, atol=1e-6)
    assert certificate == same
    for own, told, _, account, its in others:
        assert (told, account, its) == (shared, same, root)
        assert own != told, "another process's secrets are others"


COMMON = ["--set", "network.width=4", "--set", "network.depth=2", "--networks", "mlp(width=8)", "--repeats", 1]
COMMON += ["--set", "protocol.steps=3", "--baselines", "none", "--checkpoint-seconds", 0]
WORDS = {
    "dm": ["dm", "--set", "objective.real=9"],
    "mtt": [
        *("mtt", "--set", "policy.fit.steps=4", "--set", "policy.fit.epochs=none", "--set", "policy.fit.snapshots=2"),
        *("--set", "policy.experts=2", "--set", "policy.last=1", "--set", "policy.span=1"),
        *("--set", "objective.steps=2", "--set", "policy.fit.batch=15"),
    ],
    "psg": ["psg", "--set", "objective.real=60"],
}


def command(*words, before=""):
    words = [str(word) for word in words]
    return f"sys.argv[:] = ['ddcore']\n{before}\nfrom ddcore.cli import app\napp({words!r})"


def distil(name, folder, iterations=6):
    return ["distill", *WORDS[name], "--iterations", iterations, "--out", folder, *COMMON]


DYING = """
import signal
from ddcore.run import Run
whole = Run.update
def update(self):
    if os.environ.get('RANK') == '{rank}' and self.step == {step}:
        {deed}
    return whole(self)
Run.update = update
"""


def alike(one, other):
    a, b = (load_distilled(Folder(folder).distilled) for folder in (one, other))
    assert (a.inputs - b.inputs).norm() <= 1e-5 * b.inputs.norm()
    told = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert told[0].keys() == told[1].keys()
    names = [sorted(path.name for path in folder.rglob("*")) for folder in (one, other)]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", ["dm", "mtt"])
def test_the_command_leaves_the_files_of_one_process(together, program, tmp_path, name):
    one, several = tmp_path / "one", tmp_path / "several"
    extra = ["--set", f"policy.store={tmp_path}/STORE"] if name == "mtt" else []
    words = [
        [*map(str, distil(name, folder)), *(w.replace("STORE", folder.name) for w in extra)]
        for folder in (one, several)
    ]
    assert program(*words[0]).ended()[0] == 0
    (status, said), *others = [process.ended() for process in together(3, command(*words[1]))]
    assert (status, [status for status, _ in others]) == (0, [0, 0])
    assert "Written:" in said and "distilling" in said
    assert [said for _, said in others] == ["", ""]
    alike(one, several)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_ends_all_in_a_sentence(together, program, tmp_path, rank):
    folder = tmp_path / "killed"
    die = DYING.format(rank=rank, step=3, deed="os.kill(os.getpid(), signal.SIGKILL)")
    ended = [p.ended() for p in together(2, command(*distil("dm", folder), before=die))]
    assert ended[rank] == (-9, ended[rank][1])
    status, said = ended[1 - rank]
    assert status == 2 and "Traceback" not in said
    assert re.search(r"^Error: Another process of this run has ended, .*\. Go on with: ddcore resume ", said, re.M), (
        said
    )
    status, said = program("resume", folder).ended()
    assert status == 0, said
    assert program(*distil("dm", tmp_path / "one")).ended()[0] == 0
    alike(tmp_path / "one", folder)


def test_one_that_is_interrupted_has_the_step_kept(together, tmp_path):
    folder = tmp_path / "stopped"
    stop = DYING.format(rank=1, step=3, deed="os.kill(os.getpid(), signal.SIGTERM)")
    words = [*distil("dm", folder), "--checkpoint-seconds", 1000]
    (status, said), (its, _) = [p.ended() for p in together(2, command(*words, before=stop))]
    assert (status, its) == (2, 143), said
    assert len(Folder(folder).records.read_text().splitlines()) == 4
    resumed = [p.ended() for p in together(2, command("resume", folder))]
    assert [status for status, _ in resumed] == [0, 0], resumed


def test_a_private_run_that_was_killed_tells_nothing_twice(together, tmp_path):
    """Each answer stands once on record, and two processes that go on count what two that never stopped count."""
    die = DYING.format(rank=1, step=3, deed="os.kill(os.getpid(), signal.SIGKILL)")
    spent = []
    for folder, before in ((tmp_path / "straight", ""), (tmp_path / "killed", die)):
        ended = [
            p.ended()
            for p in together(2, command(*distil("psg", folder, 5), "--checkpoint-seconds", 1000, before=before))
        ]
        if before:
            assert [status for status, _ in ended] == [2, -9], ended
            ended = [p.ended() for p in together(2, command("resume", folder))]
        assert [status for status, _ in ended] == [0, 0], ended
        lines = [json.loads(line) for line in Folder(folder).spent.read_text().splitlines()]
        assert [line["number"] for line in lines] == list(range(6))
        spent.append(lines[-1]["spent"])
    assert spent[0] == spent[1]


def test_what_is_refused_is_refused_before_the_work(together, tmp_path):
    for words, sentence in (
        (["study", "grid"], "`ddcore study` is the work of one process"),
        (["distill", "dm", "--plan"], "--plan` is the work of one process"),
        (["distill", "dm", "--device", "cuda:0"], "Write --device cuda"),
        ([*distil("dm", tmp_path / "a"), "--set", "objective.real=0"], "objective.real"),
    ):
        for status, said in [p.ended() for p in together(2, command(*words))]:
            assert status == 2 and sentence in said and "Traceback" not in said, said
    assert not (tmp_path / "a").exists()
