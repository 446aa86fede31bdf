"""The audit: the attack's arithmetic, a leak that is planted, and the control by opacus."""

import json
import math
from dataclasses import replace

import pytest
import torch
from ddcore_private.audit import Audit, halves, in_words, judged, leaks, likelihood_ratios, scaled_logits
from ddcore_private.dp_sgd import DpSgd
from torch.nn import functional as F

import ddcore
from ddcore import Protocol, RecipeRefused


def test_each_item_is_in_half_of_the_shadows():
    member = halves(31, 6, seed=0)
    assert member.sum(0).tolist() == [3] * 31
    assert set(member.sum(1).tolist()) == {15, 16}
    assert torch.equal(member, halves(31, 6, seed=0))
    assert not torch.equal(member, halves(31, 6, seed=1))
    assert torch.equal(member[:4], halves(31, 4, seed=0)), "more shadows leave those that there are as they were"


def test_scaled_logits_are_the_log_odds_of_the_class():
    outputs, targets = torch.randn(2, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    p = F.softmax(outputs.double(), 2)[:, torch.arange(5), targets]
    assert torch.allclose(scaled_logits(outputs, targets), (p / (1 - p)).log().mean(0))


def test_likelihood_ratios_are_the_formula_written_slowly():
    logits, member = torch.randn(6, 9).double(), halves(9, 6, seed=0)
    found = likelihood_ratios(logits, member)
    for t in range(6):
        others = [s for s in range(6) if s != t]
        means, squares, degrees = {True: [], False: []}, {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for side in (True, False):
            for i in range(9):
                values = [float(logits[s, i]) for s in others if bool(member[s, i]) is side]
                means[side].append(sum(values) / len(values))
                squares[side] += sum((v - means[side][-1]) ** 2 for v in values)
                degrees[side] += len(values) - 1
        for i in range(9):
            density = {}
            for side in (True, False):
                variance = squares[side] / degrees[side]
                gap = float(logits[t, i]) - means[side][i]
                density[side] = -(gap**2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
            assert float(found[t, i]) == pytest.approx(density[True] - density[False], rel=1e-9)


def test_the_attack_tells_members_that_betray_themselves_and_no_others():
    generator = torch.Generator().manual_seed(0)
    member = halves(2000, 16, seed=0)
    noise = torch.randn(16, 2000, generator=generator).double()
    blind, open_ = judged(noise, member), judged(noise + 6 * member, member)
    assert blind["auc"]["mean"] == pytest.approx(0.5, abs=0.03)
    assert blind["tpr_at_0.01"]["mean"] == pytest.approx(0.01, abs=0.006)
    assert not leaks(blind)
    assert open_["tpr_at_0.001"]["mean"] > 0.9
    assert leaks(open_)
    assert "not a proof" in in_words("x", blind)
    assert "x: LEAK. At 1 % false positives" in in_words("x", open_)


def small(**fields):
    protocol = Protocol(steps=60, repeats=1, networks=(ddcore.MLP(width=32),))
    return Audit(protocol=protocol, shadows=4, dp_sgd=DpSgd(epochs=2, width=4), **fields)


def test_a_recipe_that_stores_training_images_is_found_out(tmp_path):
    """``random`` keeps real images as they are."""
    study = small(method="random", ipc=3, controls=())
    finding = ddcore.run_study(study, tmp_path)
    told = finding.numbers["audited"]["random"]
    assert told["copies"] == told["synthetic"] == 4 * 30
    assert told["nearest"]["pixels"]["mean"] < 0.01
    assert finding.rows[0][:2] == ["random", "yes"]
    assert "random: LEAK." in finding.says
    assert "120 of 120 synthetic images are copies" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "roc.png").stat().st_size > 5000


def test_a_private_set_beside_its_controls_and_the_study_goes_on(tmp_path):
    noise = {"plugins": {"private": {"epsilon": 10.0, "noise_multiplier": 4.0}}}
    overrides = {"iterations": 2, "network": {"width": 4}, "objective": {"real": 20}, **noise}
    study = small(method="ndpdc", overrides=overrides, epsilon=10.0)
    finding = ddcore.run_study(study, tmp_path)
    assert [row[0] for row in finding.rows] == ["ndpdc", "random", "dp_sgd"]
    told = finding.numbers["audited"]
    assert told["ndpdc"]["copies"] == 0
    assert told["random"]["copies"] == 40
    assert "nearest" not in told["dp_sgd"]
    assert all(told[name]["accuracy"]["mean"] > 5 for name in told)
    kept = sorted((tmp_path / "cases").glob("*/case.json"))
    assert len(kept) == 12
    before = {path: path.stat().st_mtime_ns for path in kept}
    kept[0].unlink()
    ddcore.run_study(study, tmp_path)
    changed = [path for path in kept if path.stat().st_mtime_ns != before[path]]
    assert changed == [kept[0]], "only what was missing is made again"
    again = json.loads((tmp_path / "finding.json").read_text())["audited"]
    assert again["random"] == told["random"]


def test_dp_sgd_learns_within_its_budget(digits):
    preprocess = ddcore.Standardise((0.3,), (0.37,)).start(digits.card, dict)
    inputs, targets = preprocess(digits.train.take(torch.arange(len(digits.train))).inputs), digits.train.targets
    plan = DpSgd(epochs=3, batch=128, width=8)
    module, epsilon = plan.train(inputs, targets, digits.card, 8.0, 1e-5, seed=0)
    assert 7 < epsilon <= 8.0
    test = digits.test.take(torch.arange(len(digits.test)))
    accuracy = (module(preprocess(test.inputs)).argmax(1) == test.targets).float().mean()
    assert accuracy > 0.5
    other, _ = plan.train(inputs, targets, digits.card, 8.0, 1e-5, seed=0)
    one, two = (next(iter(m.parameters())) for m in (module, other))
    assert not torch.equal(one, two), "the noise does not come from the seed"


def test_dp_sgd_is_scored_on_the_test_split_by_the_first_items_under_the_declared_preprocessing(digits, monkeypatch):
    """A network that is right by how bright an image is tells what it was shown, and what was counted."""
    data, heard = replace(digits, card=replace(digits.card, mean=(0.3,), std=(0.37,))), {}

    def trained(plan, inputs, targets, card, epsilon, delta, seed, progress):
        heard.update(inputs=inputs, targets=targets, card=card, given=(epsilon, delta, seed, progress))
        return lambda x: F.one_hot((x.flatten(1).mean(1) > 0).long(), 10).float(), 3.5

    monkeypatch.setattr(DpSgd, "train", trained)
    accuracy, spent = DpSgd().scored(data, 4.0, 1e-5, 7, items=30)
    first, test = data.train.take(torch.arange(30)), data.test.take(torch.arange(len(data.test)))
    assert torch.allclose(heard["inputs"], (first.inputs - 0.3) / 0.37)
    assert torch.equal(heard["targets"], first.targets)
    assert heard["card"] == data.card and heard["given"] == (4.0, 1e-5, 7, None)
    right = sum(int(x.mean() > 0.3) == int(y) for x, y in zip(test.inputs, test.targets, strict=True))
    assert 0 < right < len(test.targets)
    assert accuracy == pytest.approx(100 * right / len(test.targets)) and spent == 3.5
    DpSgd().scored(data, 4.0, 1e-5, 7)
    assert len(heard["inputs"]) == len(data.train)


def test_a_number_of_shadows_that_cannot_be_is_refused():
    for shadows in (2, 5):
        with pytest.raises(RecipeRefused, match="an even number of at least 4"):
            Audit(shadows=shadows)
