"""The study: its table, its plots, and that it goes on."""

import json
from dataclasses import dataclass, replace

import pytest
from ddcore_replay import Balanced, Distilled, Everything, Nothing, Replay, Training

import ddcore
from ddcore import Pixels, Protocol, RecipeRefused

SMALL = {"iterations": 2, "network": {"width": 4}, "objective": {"real": 8}}
SHORT = Training(
    network=ddcore.MLP(width=8),
    rehearsal=Protocol(steps=2, augment=None, repeats=1),
    alone=Protocol(steps=2, augment=None, repeats=1),
)


def study(**fields):
    memories = (
        Nothing(),
        Balanced(size=10),
        Distilled(size=10, method="dm", overrides=SMALL, classes=10),
        Everything(),
    )
    return Replay(memories=memories, training=SHORT, classes_each=5, **fields)


def test_it_tells_of_each_memory_and_way_over_the_seeds_and_goes_on(tmp_path):
    told = []
    finding = ddcore.run_study(study(seeds=(0, 1), shuffled=True), tmp_path, progress=lambda *x: told.append(x))
    assert told[-1] == ("cases", 8, 8)
    ways = [("nothing", "rehearse")]
    ways += [(name, way) for name in ("balanced", "dm") for way in ("rehearse", "scratch")]
    assert [tuple(row[:2]) for row in finding.rows] == [*ways, ("everything", "scratch")]
    assert all(len(row) == len(finding.head) for row in finding.rows)
    dm = finding.numbers["memories"][3]
    assert [t["budget"] for t in finding.numbers["memories"]] == ["", *["10 images"] * 4, ""]
    assert (dm["images"], dm["nbytes"], dm["average_accuracy"]["n"]) == (10, 10 * 257 + 2 * 8, 2)
    assert len(dm["curve"]) == 2
    assert finding.says.count("Best within 10 images: ") == 1
    for plot in ("experiences.png", "memory.png"):
        assert (tmp_path / plot).stat().st_size > 5000
        assert plot in (tmp_path / "report.md").read_text()
    kept = sorted((tmp_path / "cases").glob("*/case.json"))
    assert len(kept) == 8
    before = {path: path.stat().st_mtime_ns for path in kept}
    kept[3].unlink()
    again = ddcore.run_study(study(seeds=(0, 1), shuffled=True), tmp_path)
    assert [path for path in kept if path.stat().st_mtime_ns != before[path]] == [kept[3]]
    matrices = [t["matrices"] for t in finding.numbers["memories"]]
    assert [t["matrices"] for t in again.numbers["memories"]] == matrices
    assert json.loads((tmp_path / "finding.json").read_text())["memories"][3]["matrices"] == matrices[3]


def test_memories_of_one_class_that_differ_in_a_field_do_not_share_what_they_found(tmp_path):
    memories = tuple(Balanced(size=size) for size in (10, 20))
    finding = ddcore.run_study(Replay(memories=memories, ways=("scratch",), training=SHORT, classes_each=5), tmp_path)
    assert [t["images"] for t in finding.numbers["memories"]] == [10, 20]
    assert len(list((tmp_path / "cases").iterdir())) == 2


def test_a_way_that_no_memory_suits_falls_back_to_one_that_does(tmp_path):
    told = ddcore.run_study(study(ways=("rehearse",)), tmp_path)
    assert [tuple(row[:2]) for row in told.rows] == [
        ("nothing", "rehearse"),
        ("balanced", "rehearse"),
        ("dm", "rehearse"),
        ("everything", "scratch"),
    ]


@dataclass(frozen=True)
class Several(Pixels):
    """At least three images per class."""

    def check(self, recipe, card, network):
        super().check(recipe, card, network)
        if self.ipc < 3:
            raise RecipeRefused(f"{self.ipc} are not several")


def test_a_recipe_is_checked_at_the_sizes_that_it_is_used_at(host, monkeypatch):
    def memories(**fields):
        return Replay(memories=(Distilled(method="dm", overrides=SMALL, **fields),), classes_each=5)

    recipe = ddcore.Host.recipe

    def of_several(self, *given, **named):
        made = recipe(self, *given, **named)
        return replace(made, synthetic=Several(made.ipc))

    monkeypatch.setattr(ddcore.Host, "recipe", of_several)
    assert len(memories(size=30).cases(host)) == 1
    with pytest.raises(RecipeRefused, match=r"cannot make 2 images of each of the classes 5, .*: 2 are not several"):
        memories(size=20).cases(host)
    with pytest.raises(RecipeRefused, match=r"cannot make 2 images of each of the classes 0, "):
        memories(size=20, classes=10).cases(host)
    with pytest.raises(RecipeRefused, match="10 classes have come, and the memory was made for 5"):
        memories(size=20, classes=5).cases(host)
    monkeypatch.undo()
    with pytest.raises(RecipeRefused, match="memory of 9 images cannot hold one of each of 10"):
        memories(size=9).cases(host)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"method": "dmm"}, "no method named 'dmm'"),
        ({"method": "frepo"}, "labels that are not classes"),
        ({"method": "gcond_x"}, "is for items of the kind node"),
        ({"overrides": {"netwrok.width": 4}}, "netwrok"),
    ],
)
def test_a_method_that_does_not_suit_is_refused_before_the_first_case(fields, sentence, host, tmp_path):
    distilled = Distilled(**{"size": 10, "method": "dm", **fields})
    with pytest.raises(ddcore.DdcoreError, match=sentence):
        ddcore.run_study(Replay(memories=(distilled,), classes_each=5), tmp_path / "s", host=host)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("said", [{"seeds": ()}, {"ways": ()}, {"memories": ()}])
def test_an_empty_study_is_refused(said):
    with pytest.raises(RecipeRefused, match=f"{next(iter(said))} is empty: the study needs at least one"):
        Replay(**said)


def test_it_comes_back_from_the_command_line(host):
    """Every part of it can be named in a settings file."""
    entries = {(e.kind, e.name) for e in host.catalogue if e.distribution == "ddcore-replay"}
    memories = {("memory", name) for name in ("nothing", "everything", "reservoir", "balanced", "distilled", "olcgm")}
    assert (
        memories
        | {
            ("study", "replay"),
            ("training", "training"),
            ("method", "distilled_replay"),
            ("method", "ccmcl"),
            ("method", "dm_bases"),
            ("method", "stable_sequence"),
            ("carrier", "composite"),
        }
        == entries
    )
