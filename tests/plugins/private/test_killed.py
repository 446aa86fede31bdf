"""Private runs that are killed, in real processes: what was told in all lives is what the certificate counts."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ddcore

LIVES = Path(__file__).with_name("lives.py")
REQUESTS = 8
KILLS = ["begun:1", "kept:1", "unrecorded:2", "recorded:2", "told:3", "asked:2", "told:1"]
"""Before there is a checkpoint, right after the first one, and in mid-step on each side of the record."""


@pytest.fixture(scope="module")
def lived(script):
    """Lets a run in a folder live so; what became of each life."""

    def live(folder, *lives):
        status, said = script(LIVES, folder, log_of(folder), *lives)
        assert status == 0, said
        return [line for line in said.splitlines() if line.startswith(("killed", "exit"))]

    return live


def log_of(folder):
    return folder.with_suffix(".log")


def certified(folder):
    """The finished run in ``folder``: its certificate, once it has been held against what was told."""
    facts = ddcore.load_distilled(folder / "distilled.safetensors").facts["privacy"]
    told = set(log_of(folder).read_text().splitlines())
    assert len({line.split()[1] for line in told}) == facts["requests"] == REQUESTS
    assert len({line.split()[0] for line in told}) == REQUESTS, "each request has one answer"
    return facts


@pytest.fixture(scope="module")
def straight(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert lived(folder, "end") == ["exit 0"]
    certified(folder)
    return load_file(folder / "distilled.safetensors")


def same(folder, straight):
    found = load_file(folder / "distilled.safetensors")
    return found.keys() == straight.keys() and all(torch.equal(found[name], straight[name]) for name in found)


def test_what_was_told_in_all_lives_is_what_the_certificate_counts(lived, tmp_path, straight):
    folder = tmp_path / "run"
    assert lived(folder, *KILLS, "end") == ["killed"] * len(KILLS) + ["exit 0"]
    certified(folder)
    assert same(folder, straight)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.long
def test_killed_at_forty_moments(lived, tmp_path, straight, recorded):
    chance, counts = random.Random(0), Counter()
    for number in range(8):
        folder = tmp_path / f"run{number}"
        lives = lived(folder, *(f"seconds:{chance.uniform(0, 2):.3f}" for _ in range(5)), "end")
        counts.update(lives=len(lives), kills=lives.count("killed"), requests=certified(folder)["requests"])
        assert same(folder, straight)
    recorded(counts)
