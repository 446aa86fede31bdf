"""The studies: from triggers to a table, from sets to a verdict, from a card to what can be made again."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from ddcore_backdoor import Backdoor, Defences, Doorping, Patch, Poison, Provenance, Strip, faults, remade
from ddcore_backdoor.repairs import FineTuning
from ddcore_backdoor.sets import ActivationClustering
from ddcore_backdoor.study import names
from typer.testing import CliRunner

import ddcore
from ddcore import RecipeRefused
from ddcore import plugin as dd
from ddcore.cli import app

SMALL = ddcore.Protocol(steps=2, augment=None, repeats=2, networks=(dd.ConvNet(width=4, depth=2),))
PATCH = Patch(width=4)
RECIPE = {"network.width": 4, "network.depth": 2, "objective.real": 8, "iterations": 2}


def study(**fields):
    attacks = (Poison(PATCH), Poison(PATCH, learned=Doorping("target", moves=2)))
    given = {"methods": ("dm",), "ipc": 4, "attacks": attacks, "shares": (0.1,), "overrides": {"dm": RECIPE}}
    return Backdoor(**{**given, "protocol": SMALL, "control": replace(SMALL, steps=1), "seeds": (0,), **fields})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    place = tmp_path_factory.mktemp("study") / "run"
    return place, ddcore.run_study(study(), place)


def test_each_attack_stands_beside_its_control_and_its_twin(done):
    place, finding = done
    assert [row[:3] for row in finding.rows] == [
        ["dm", "naive patch", "10 %"],
        ["dm", "doorping target patch", "10 %"],
    ]
    assert list(finding.head) == [
        *("method", "attack", "share", "control", "success", "same trigger, clean set"),
        *("accuracy", "clean", "loss", "success, augmented"),
    ]
    (case,) = (place / "cases").glob("digits-dm-0-*")
    told = json.loads((case / "case.json").read_text())
    for one in told["attacks"].values():
        assert {"control", "still", "moving", "twin", "poisoning"} <= one.keys()
        assert one["twin"].keys() == {"still", "moving"}
    naive, learned = (told["attacks"][f"{name} patch, 10 %"] for name in ("naive", "doorping target"))
    assert naive["poisoning"]["trigger"]["pattern"] != learned["poisoning"]["trigger"]["pattern"]
    assert (case / "triggers.png").stat().st_size > 5000
    assert (place / "success.png").exists()
    assert len(list(case.glob("*/report.md"))) == 3


def test_the_numbers_of_a_set_are_those_of_its_own_evaluation(done):
    place, _ = done
    (case,) = (place / "cases").glob("digits-dm-0-*")
    told = json.loads((case / "case.json").read_text())["attacks"]["naive patch, 10 %"]["still"]
    metrics = json.loads((case / "naive patch-10 %" / "metrics.json").read_text())
    scores = {name: of["convnet"]["mean"] for name, of in metrics["scores"].items()}
    assert told == pytest.approx({"accuracy": scores["accuracy"], "success": scores["attack_success"]})


def test_the_twin_is_the_same_distillation_without_the_view(done):
    place, _ = done
    (case,) = (place / "cases").glob("digits-dm-0-*")
    clean, naive = (ddcore.Folder(case / name).recipe.read_text() for name in ("clean", "naive patch-10 %"))
    host = ddcore.Host()
    one, other = (ddcore.Experiment.from_toml(text, host.catalogue).recipe for text in (clean, naive))
    assert replace(other, views=()) == one


def test_a_control_that_does_not_learn_the_trigger_forbids_a_claim(done):
    assert "No claim is made about dm, naive patch, 10 %" in done[1].says


def test_attacks_of_one_name_are_told_apart():
    alike = [Poison(PATCH), Poison(Patch(width=2))]
    assert len(set(names(alike))) == 2
    assert names([Poison(PATCH), Poison(PATCH, learned=Doorping(bounded=False))]) == [
        "naive patch",
        "doorping neuron unbounded patch",
    ]


# --- defences --------------------------------------------------------------------------------------------


def test_every_defence_is_tried_on_the_clean_set_the_poisoned_ones_and_the_poisoned_data(done, tmp_path):
    defences = (ActivationClustering(), Strip(overlays=5), FineTuning(steps=2))
    plan = Defences(sets=(str(done[0]),), defences=defences, tested=40, examined=100, protocol=SMALL)
    finding = ddcore.run_study(plan, tmp_path / "defences")
    assert len(finding.rows) == 2 * 3, "each defence, on sets and on T"
    cases = [json.loads(path.read_text()) for path in (tmp_path / "defences" / "cases").glob("*/case.json")]
    assert sorted((c["suspect"], c["poisoned"]) for c in cases) == [
        *(("T", True), ("T", True), ("set", False), ("set", True), ("set", True))
    ]
    for case in cases:
        told = case["defences"]
        assert told.keys() == {"activation_clustering", "strip", "fine_tuning"}
        items = {"items_found", "items_wronged"} if case["suspect"] == "T" else set()
        assert told["activation_clustering"].keys() == {"alarm", "right", "accused"} | items
        assert 0 <= told["strip"]["refused_stamped"] <= 100
        assert told["fine_tuning"]["after"].keys() == case["before"].keys() == {"accuracy", "success"}


def test_without_sets_there_is_nothing_to_examine(tmp_path):
    for plan in (Defences(), Provenance(), Defences(sets=(str(tmp_path),))):
        with pytest.raises(RecipeRefused, match="There is no"):
            ddcore.run_study(plan, tmp_path / "none")
    assert not (tmp_path / "none" / "cases").exists()


# --- provenance ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secretly(dd.View):
    """Poison that does not speak of it."""

    plan: Poison = Poison(PATCH, share=0.3)

    def build(self, store, rng):
        live = self.plan.build(store, rng)
        live.facts = dict
        return live


@pytest.fixture
def honest(host, digits, small):
    def made(*views):
        recipe = small(host.recipe("dm", iterations=1), views=views)
        return host.distill(recipe, digits)

    return made


def test_an_honest_set_has_no_faults_and_comes_out_again(honest, host, digits):
    for views in ((), (Poison(PATCH, share=0.1),), (Poison(PATCH, share=0.1, learned=Doorping(moves=2)),)):
        made = honest(*views)
        assert faults(made, digits, host) == []
        assert remade(made, digits, host) == 0


def test_what_a_card_leaves_out_or_makes_up_is_found(honest, host, digits):
    made = honest(Poison(PATCH, share=0.1))
    silent = replace(made, facts={k: v for k, v in made.facts.items() if k not in ("poisoned", "warnings")})
    assert "its card tells of nothing" in " ".join(faults(silent, digits, host))
    muted = replace(made, facts={**made.facts, "warnings": []})
    assert "lacks the warning" in " ".join(faults(muted, digits, host))
    smaller = replace(made, facts={**made.facts, "poisoned": [{**made.facts["poisoned"][0], "share": 0.01}]})
    assert "1 %" in " ".join(faults(smaller, digits, host))
    said = {"seed": (7, "its seed was 7"), "steps": (99, "it made 99 of the 1 steps"), "fingerprint": ("0", "content")}
    for name, (value, sentence) in said.items():
        assert sentence in " ".join(faults(replace(made, facts={**made.facts, name: value}), digits, host))
    assert "is called dc" in " ".join(faults(replace(made, method="dc"), digits, host))


def test_a_poisoned_set_with_a_clean_recipe_is_found_by_making_it_again(honest, host, digits):
    clean, forged = honest(), honest(Secretly())
    forged = replace(forged, recipe=clean.recipe)
    assert faults(forged, digits, host) == []
    assert remade(forged, digits, host) > 0.01
    assert remade(clean, digits, host) == 0


def test_the_study_says_which_set_is_what(honest, tmp_path):
    clean, poisoned, forged = honest(), honest(Poison(PATCH, share=0.1)), honest(Secretly())
    files = {"clean": clean, "poisoned": poisoned, "forged": replace(forged, recipe=clean.recipe)}
    for name, made in files.items():
        made.save(tmp_path / f"{name}.safetensors")
    sets = json.dumps([str(tmp_path / f"{name}.safetensors") for name in files])
    words = ["study", "provenance", "--set", f"sets={sets}", "--out", str(tmp_path / "found")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "found" / "finding.json").read_text())["sets"]
    assert [len(one["told"]) for one in told] == [0, 1, 0]
    assert [len(one["faults"]) for one in told] == [0, 0, 1]
    assert "its recipe makes another set" in " ".join(done.output.split())


def test_what_cannot_be_made_again_is_refused(host, digits, small):
    private = small(host.recipe("ndpdc", iterations=1), plugins={"private": {"epsilon": 50.0}})
    made = host.distill(private, digits)
    with pytest.raises(RecipeRefused, match="cannot be made again"):
        remade(made, digits, host)
    assert faults(made, digits, host) == []
    assert torch.isfinite(made.inputs).all()
