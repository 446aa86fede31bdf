"""Killed at any moment and resumed, a command makes what it makes when it is never killed.

What a killed process leaves behind is its files alone, so the moments that differ are those between two operations on
files. Each process counts its own, and kills itself before the one that was drawn from a seed.
"""

import json
import random
import shutil

import pytest
import torch

from ddcore import Folder, load_distilled

COMMON = ["--set", "network.width=4", "--set", "network.depth=2", "--networks", "mlp(width=8)", "--repeats", 1]
COMMON += ["--set", "protocol.steps=3", "--baselines", "random", "--checkpoint-seconds", 0]
FITS = ["--set", "policy.fit.steps=4", "--set", "policy.fit.batch=16"]
MADE = {
    "dm": ["dm", "--iterations", 6, "--set", "objective.real=4"],
    "experts": [
        *("mtt", "--iterations", 3, *FITS, "--set", "policy.fit.epochs=none", "--set", "policy.fit.snapshots=2"),
        *(
            "--set",
            "policy.experts=2",
            "--set",
            "policy.last=1",
            "--set",
            "policy.span=1",
            "--set",
            "objective.steps=2",
        ),
    ],
    "teacher": ["sre2l", "--iterations", 3, *FITS, "--set", "labels.keep=true"],
}
MEMORIES = '[{name="reservoir", size=10}, {name="distilled", size=10, method="dm", overrides={iterations=2}}]'
EXCHANGES = '[{name="averaging", fit={name="fit", steps=2, batch=16}}]'
MLP = '{name="mlp", width=8}'
STUDIES = {
    "replay": [
        *("study", "replay", "--set", "classes_each=5", "--set", f"memories={MEMORIES}", "--set", 'ways=["scratch"]'),
        *("--set", "training.alone.steps=3", "--set", f"training.network={MLP}"),
    ],
    "federated": [
        *("study", "federated", "--set", "clients=2", "--set", "rounds=2", "--set", f"network={MLP}"),
        *("--set", f"exchanges={EXCHANGES}"),
    ],
}
COUNTING = """
import signal
left = {left}
def count(event, args):
    global left
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod") and {folder!r} in str(args[0]):
        left -= 1
        if not left:
            {deed}
sys.addaudithook(count)
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
TELL = "import atexit, multiprocessing.util as u; u.Finalize(None, lambda: print('operations', -left), exitpriority=1)"


def counting(folder, left, deed=KILL):
    """Code that does ``deed`` before the operation number ``left`` on a file in ``folder``."""
    return COUNTING.format(folder=str(folder), left=left, deed=deed)


def whole(program, folder, *words):
    """Runs ``words`` to their end; how many operations on files in ``folder`` that takes."""
    status, said = program(*words, before=f"{counting(folder, 0, 'pass')}{TELL}").ended()
    assert status == 0, said
    return int(said.rpartition("operations ")[2])


def killed(program, folder, operations, seed, times, first, again):
    """Runs ``first``, and ``again`` after each of ``times`` kills, to the end; how many kills there were."""
    draw, words = random.Random(seed), first
    for kills in range(times):
        status, said = program(*words, before=counting(folder, draw.randint(1, operations // 2))).ended()
        if status == 0:
            return kills
        assert status == -9, said
        if again[0] != "resume" or Folder(folder).recipe.exists():
            words = again
    status, said = program(*words).ended()
    assert status == 0, said
    return times


def numbers(path):
    """The numbers in ``path`` but for those that no two runs share."""
    return without(json.loads(path.read_text()), {"seconds", "peak_mib"})


def without(value, names):
    if isinstance(value, dict):
        return {name: without(v, names) for name, v in value.items() if name not in names}
    return [without(v, names) for v in value] if isinstance(value, list) else value


def alike(one, other):
    """Two folders of a run hold the same, and nothing that is temporary."""
    sets = [load_distilled(Folder(folder).distilled) for folder in (one, other)]
    kept = [{**a.tensors.state_dict(), **a.latent, **a.teaching, **a.preprocess_state} for a in sets]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert without(sets[0].facts, {"seconds"}) == without(sets[1].facts, {"seconds"})
    assert numbers(one / "metrics.json") == numbers(other / "metrics.json")
    records = [
        [json.loads(line) for line in Folder(folder).records.read_text().splitlines()] for folder in (one, other)
    ]
    assert [without(r, {"seconds"}) for r in records[0]] == [without(r, {"seconds"}) for r in records[1]]
    clean(other)


def clean(folder):
    assert [path.name for path in folder.rglob(".*")] == []


@pytest.fixture(scope="module")
def finished(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    status, said = program("distill", *MADE["dm"], *COMMON, "--out", folder).ended()
    assert status == 0, said
    return folder


@pytest.fixture(scope="module")
def straight(program, tmp_path_factory):
    """Each of ``MADE``, run to its end: its folder, and how many operations on files that took."""
    found = {}

    def run(name, *words):
        if name not in found:
            folder = tmp_path_factory.mktemp("straight") / "run"
            found[name] = folder, whole(program, folder, *words, "--out", folder)
        return found[name]

    return run


def distilling(program, straight, folder, made, seed, times):
    first = ["distill", *MADE[made], *COMMON]
    one, operations = straight(made, *first)
    again = ["resume", folder, "--checkpoint-seconds", 0]
    kills = killed(program, folder, operations, seed, times, [*first, "--out", folder], again)
    alike(one, folder)
    return kills


def evaluating(program, finished, folder, seed, times):
    places = [folder / name for name in ("straight", "killed")]
    for place in places:
        shutil.copytree(finished, place)
    evaluate = ["--networks", "mlp(width=4)", "--repeats", 1, "--baselines", "none", "--set", "protocol.steps=3"]
    words = [["evaluate", place, *evaluate] for place in places]
    operations = whole(program, places[0], *words[0])
    kills = killed(program, places[1], operations, seed, times, words[1], words[1])
    assert numbers(places[0] / "evaluation-own.json") == numbers(places[1] / "evaluation-own.json")
    clean(places[1])
    return kills


def comparing(program, finished, folder, seed, times):
    places = [folder / name for name in ("straight", "killed")]
    words = [["compare", finished, "--out", place] for place in places]
    operations = whole(program, places[0], *words[0])
    kills = killed(program, places[1], operations, seed, times, words[1], words[1])
    for name in ("compare.md", "compare.csv", "compare.png"):
        assert (places[0] / name).read_bytes() == (places[1] / name).read_bytes()
    clean(places[1])
    return kills


def studying(program, folder, name, seed, times):
    places = [folder / where for where in ("straight", "killed")]
    words = [[*STUDIES[name], "--out", place] for place in places]
    operations = whole(program, places[0], *words[0])
    kills = killed(program, places[1], operations, seed, times, words[1], words[1])
    one, other = (json.loads((place / "finding.json").read_text()) for place in places)
    timed = {"seconds", "condensing", "training", "s_condensing", "s_training"}
    assert without(one, timed) == without(other, timed)
    clean(places[1])
    return kills


@pytest.mark.parametrize("made", MADE)
def test_distilling(program, straight, tmp_path, made):
    assert distilling(program, straight, tmp_path / "killed", made, 0, 1) == 1


def test_evaluating(program, finished, tmp_path):
    assert evaluating(program, finished, tmp_path, 0, 1) == 1


def test_comparing(program, finished, tmp_path):
    assert comparing(program, finished, tmp_path, 0, 1) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_studying(program, tmp_path, name):
    assert studying(program, tmp_path, name, 0, 1) == 1


@pytest.mark.long
def test_at_200_moments(program, straight, finished, tmp_path, recorded):
    kills, seed = 0, 0
    while kills < 200:
        seed += 1
        for made in MADE:
            kills += distilling(program, straight, tmp_path / f"{made}-{seed}", made, seed, 3)
        kills += evaluating(program, finished, tmp_path / f"evaluate-{seed}", seed, 2)
        kills += comparing(program, finished, tmp_path / f"compare-{seed}", seed, 2)
        for name in STUDIES:
            kills += studying(program, tmp_path / f"{name}-{seed}", name, seed, 2)
    recorded({"kills": kills})
