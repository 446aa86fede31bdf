"""Measures of what stays under attack, and what the numbers say together."""

import json
from dataclasses import replace

import pytest
import torch
from ddcore_robust import (
    L2,
    AutoAttack,
    Battery,
    Fgsm,
    Linf,
    Pgd,
    RobustAccuracy,
    TransferAccuracy,
    Unmoved,
    attack_efficiency,
    robustness_ratio,
)

import ddcore
from ddcore import ConvNet, Protocol, RealData, RecipeRefused
from ddcore import plugin as dd
from ddcore.types import Call, Network

COLOURS = (0.1, 0.5, 0.9), (0.2, 0.4, 0.3)
"""Means and deviations that differ by channel."""


class Brightest(Network):
    """Says which channel of an item is the brightest in raw values: it undoes the preprocessing itself."""

    per_sample = True

    def init(self, generator):
        return {"scale": torch.ones(1)}, {}

    def apply(self, call: Call, x):
        mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in COLOURS)
        logits = (x * std + mean).mean((-2, -1))
        scale = call.params["scale"]
        return logits * (scale.view(-1, 1, 1) if call.ensemble else scale)


@pytest.fixture(scope="module")
def colours():
    """Items of three channels: 150 in the channel of the class, 100 in the next, 0 in the last."""
    targets = torch.arange(3).repeat(20)
    images = torch.zeros(60, 3, 4, 4, dtype=torch.uint8)
    for image, c in zip(images, targets.tolist(), strict=True):
        image[c], image[(c + 1) % 3] = 150, 100
    data = RealData.of("colours", (images, targets), (images, targets), mean=COLOURS[0], std=COLOURS[1])
    return dd.Preprocessed(data.test, dd.Standardise().fitted(data.card).start(data.card, dict))


@pytest.fixture(scope="module")
def nets():
    return dd.Draw(Brightest(), {"scale": torch.tensor([[20.0], [60.0]])}, {}, ensemble=2)


@pytest.mark.parametrize(("epsilon", "stays"), [(0.09, 100.0), (0.11, 0.0)])
@pytest.mark.parametrize("attack", [Fgsm, Pgd])
def test_the_ball_is_one_of_raw_values_whatever_the_preprocessing(colours, nets, attack, epsilon, stays):
    """50 / 255 = 0.196 lies between the two brightest channels, and both can be moved: 0.098 is the border."""
    found = RobustAccuracy(attack(Linf(epsilon)))(nets, colours, 7)
    assert found.tolist() == [stays, stays]


def test_a_euclidean_ball_is_of_the_whole_item(colours, nets):
    """32 values have to move by 0.098 each: 0.5546."""
    found = [RobustAccuracy(Pgd(L2(r), 40))(nets, colours, 60).tolist() for r in (0.54, 0.57)]
    assert found == [[100.0, 100.0], [0.0, 0.0]]


def test_items_that_are_wrong_without_an_attack_are_not_robust(colours, nets):
    wrong = replace(colours, store=replace(colours.store, targets=(colours.store.targets + 1) % 3))
    assert RobustAccuracy(Unmoved())(nets, wrong, 60).tolist() == [0.0, 0.0]
    assert RobustAccuracy(Pgd(Linf(0.2)))(nets, wrong, 60).tolist() == [0.0, 0.0]


def test_items_are_taken_from_all_classes(colours, nets):
    store = colours.store
    half = replace(colours, store=replace(store, targets=store.targets.where(store.targets != 2, 0)))
    assert RobustAccuracy(Unmoved(), items=6)(nets, half, 60).tolist() == pytest.approx([200 / 3] * 2)


def test_a_transferred_attack_is_not_stronger(digits):
    fitted = dd.Standardise().fitted(digits.card).start(digits.card, dict)
    protocol = Protocol(steps=40, repeats=1, networks=(ConvNet(width=8, depth=2),))
    given = (protocol.networks[0], dd.Preprocessed(digits.train, fitted), digits.card, protocol, 2e-3, 0)
    ((draw, chunk),) = dd.fresh_nets(*given, torch.device("cpu"))
    shown, attack = dd.Preprocessed(digits.test, fitted), Pgd(Linf(0.08), 10)
    surrogate = replace(protocol, augment=None)
    found = [
        float(measure(draw, shown, chunk))
        for measure in (
            RobustAccuracy(Unmoved(), 180),
            TransferAccuracy(attack, 180, surrogate=surrogate),
            RobustAccuracy(attack, 180),
        )
    ]
    assert found[0] > found[1] > found[2]
    again = float(TransferAccuracy(attack, 180, surrogate=surrogate)(draw, shown, chunk))
    assert again == found[1]


def test_several_attacks_in_one_run_by_name(tmp_path, tiny):
    """Each has a column of its own, and the artefact's preprocessing is part of the network."""
    attacks = [Fgsm(), Pgd(Linf(0.1), 3), Pgd(Linf(0.3), 3), Pgd(L2(0.5), 3)]
    measures = (dd.Accuracy(), *(RobustAccuracy(attack, 12) for attack in attacks))
    protocol = Protocol(steps=5, repeats=2, networks=(ConvNet(width=4, depth=2),), measures=measures)
    found = ddcore.evaluate(tiny.train, tiny, protocol)
    assert len(found) == 5
    assert sum("epsilon=0.3" in name for name in found) == 1
    json.dumps({name: score.plain() for name, scores in found.items() for score in scores.values()})


def test_they_refuse_before_networks_are_trained(tiny, monkeypatch):
    floats = RealData.of("floats", (torch.rand(30, 1, 8, 8), torch.arange(30) % 3), None, mean=(0.4,), std=(0.3,))
    monkeypatch.setattr("ddcore.evaluation.scores.to_train", lambda *_: pytest.fail("networks are trained"))
    protocol = Protocol(measures=(RobustAccuracy(),))
    with pytest.raises(RecipeRefused, match="came as floats, whose range is not known"):
        ddcore.evaluate(floats.train, floats, protocol)
    with pytest.raises(RecipeRefused, match="at least 4 classes"):
        ddcore.evaluate(tiny.train, tiny, replace(protocol, measures=(RobustAccuracy(AutoAttack()),)))


def test_networks_that_want_another_range_are_refused(tiny, host, small, monkeypatch):
    """Whether the set was made of items whose range nobody knows, or its preprocessing is of another one."""
    batch = tiny.train.take(torch.arange(len(tiny.train)))
    floats = RealData.of("tiny", (77.7 * batch.inputs, batch.targets), None, white=1, mean=(31.0,), std=(23.0,))
    protocol = Protocol(steps=2, networks=(ConvNet(width=4, depth=2),), measures=(RobustAccuracy(Pgd(), 6),))
    monkeypatch.setattr("ddcore.evaluation.scores.to_train", lambda *_: pytest.fail("networks are trained"))
    made = host.distill(small(host.recipe("random")), floats)
    with pytest.raises(RecipeRefused, match="those of tiny came as floats, whose range is not known"):
        ddcore.evaluate(made, tiny, protocol)


@pytest.mark.parametrize("measure", [RobustAccuracy(), TransferAccuracy()], ids=lambda m: m.part_name())
def test_a_preprocessing_of_another_range_is_refused(measure, colours, nets):
    wrong = replace(
        colours,
        preprocess=dd.Standardise((100.0,) * 3, (50.0,) * 3).load(
            {"mean": torch.full((3,), 100.0), "std": torch.full((3,), 50.0)}
        ),
    )
    with pytest.raises(RecipeRefused, match="take 0 for items of 100 to 100: they want another range"):
        measure(nets, wrong, 60)


# --- what they say together ------------------------------------------------------------------------------

SOUND = Battery(clean=95, fgsm=60, pgd20=50, pgd100=49, transfer=80, anything=0, beyond=1)


def test_sound_numbers_raise_no_flag():
    assert list(SOUND.flags()) == []
    assert list(replace(SOUND, beyond=None).flags()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"anything": 12.0}, r"12\.0 % withstand an attack that may change everything \(epsilon 1\)"),
        ({"pgd100": 40.0}, "PGD-100 finds 10.0 points more than PGD-20"),
        ({"fgsm": 40.0}, r"One step \(FGSM\) finds 10\.0 points more than 20"),
        ({"transfer": 45.0}, "An attack on another network finds 5.0 points more"),
        ({"beyond": 30.0}, "AutoAttack finds 30.0 points more than PGD-20"),
    ],
)
def test_each_sign_of_masked_gradients_is_said(change, sentence):
    (said,) = replace(SOUND, **change).flags()
    assert pytest.importorskip("re").search(sentence, said), said


def test_beards_scores_by_hand():
    """ASR of 30, 50 and 70 points: 1 - 50 / 70. Seconds of 1, 3 and 11 beyond one: (4 / 10)."""
    assert robustness_ratio(90, [60, 40, 20]) == pytest.approx(100 * (1 - 50 / 70))
    assert attack_efficiency(1, [1, 3, 11]) == pytest.approx(100 * (5 - 1) / 10)
    assert robustness_ratio(90, [10]) == 0
    assert robustness_ratio(90, [90]) == attack_efficiency(1, [1]) == 0
