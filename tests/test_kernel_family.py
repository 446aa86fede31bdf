"""The kernel ridge family: free labels, kernels, ridge regression through the gate, pools of networks."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch.nn import functional as F

from ddcore import (
    BadArtefact,
    DistilledSet,
    LossDiverged,
    Protocol,
    RecipeRefused,
    Vectors,
)
from ddcore.carriers.formation import Formation
from ddcore.carriers.pixels import Pixels
from ddcore.evaluate import evaluate, train
from ddcore.gate import LOSSES
from ddcore.networks.convnet import ConvNet
from ddcore.preprocess import Standardise
from ddcore.recipe import Update

PLAN = ConvNet(width=4, depth=2)


# --- labels ----------------------------------------------------------------------------------------------


def test_losses_are_one_number_an_item():
    outputs, targets = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = list(zip(outputs, targets, strict=True))
    slow = [sum((float(f) - float(y)) ** 2 for f, y in zip(*row, strict=True)) / 2 for row in pairs]
    assert torch.allclose(LOSSES["squared"](outputs, targets), torch.tensor(slow, dtype=torch.float64))
    slow = [-sum(y * f.log_softmax(0)[i] for i, y in enumerate(t)) for f, t in pairs]
    assert torch.allclose(LOSSES["cross_entropy"](outputs, targets), torch.stack(slow))


@pytest.mark.parametrize(
    ("plan", "row"),
    [
        (Vectors(), [0, 1, 0]),
        (Vectors(scale=2, loss="squared"), [0, 2, 0]),
        (Vectors(scale=3, centred=True, loss="squared"), [-1, 2, -1]),
    ],
)
def test_vectors_start_as_the_class(plan, row, tiny):
    labels = plan.build(tiny.card, Pixels(2).build(tiny.card))
    index = torch.arange(6)
    targets = labels(index, torch.zeros(6, 1, 8, 8))
    assert targets[2].tolist() == targets[3].tolist() == pytest.approx(row)
    assert torch.equal(labels.encoded(torch.tensor([0, 0, 1, 1, 2, 2]), 3), targets)
    each = torch.vmap(lambda c: labels.encoded(c[None], 3)[0])(torch.tensor([0, 0, 1, 1, 2, 2]))
    assert torch.equal(each, targets), "a gate that clips single items asks under vmap"
    assert labels.groups()["labels"] == [labels.vectors]
    assert labels.loss is LOSSES[plan.loss]


def test_learned_vectors_are_stored_and_fixed_ones_follow_from_the_class(tiny):
    carrier = Pixels(2).build(tiny.card)
    tiled = Formation(2, factor=2).build(tiny.card)
    assert Vectors().build(tiny.card, carrier).nbytes() == 6 * 3 * 4
    fixed = Vectors(learned=False).build(tiny.card, carrier)
    assert fixed.nbytes() == 6
    assert fixed.groups() == {"labels": []}
    assert Vectors(learned=False).build(tiny.card, tiled).nbytes() == 6
    assert Vectors().build(tiny.card, tiled).nbytes() == 24 * 3 * 4


def test_labels_that_no_loss_can_meet_are_refused():
    with pytest.raises(RecipeRefused, match=r"sum to zero, which no cross-entropy can meet: take labels.loss"):
        Vectors(centred=True)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecipeRefused, match="labels.scale = .* above zero and finite"):
            Vectors(scale=scale)


def a_set(tiny, targets, loss):
    inputs = tiny.train.inputs[: len(targets)] / 255
    return DistilledSet(inputs, targets, tiny.card, "made", "", 0, loss=loss)


def test_the_artefact_says_which_loss_its_targets_are_for(tiny, tmp_path, host, small):
    targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    path = a_set(tiny, targets, "squared").save(tmp_path / "set.safetensors")
    assert DistilledSet.load(path).loss == "squared"
    with pytest.raises(BadArtefact, match="targets are classes, and its loss 'squared' wants one row of 3 an item"):
        DistilledSet.load(a_set(tiny, torch.zeros(5, dtype=torch.int64), "squared").save(path))
    for labels in (Vectors(loss="squared"), Vectors()):
        recipe = small(host.recipe("dc", iterations=1), labels=labels)
        recipe = replace(recipe, update=Update(lr={"inputs": 0.1, "labels": 0.1}))
        assert host.distill(recipe, tiny).loss == labels.loss


def test_a_file_of_before_there_was_a_loss_still_loads(tiny, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = a_set(tiny, torch.zeros(5, dtype=torch.int64), "cross_entropy").save(tmp_path / "set.safetensors")
    with safe_open(path, framework="pt") as file:
        card = file.metadata()["ddcore"]
    assert '"loss": "cross_entropy", ' in card
    save_file(load_file(path), path, {"ddcore": card.replace('"loss": "cross_entropy", ', "")})
    assert DistilledSet.load(path).loss == "cross_entropy"
    save_file(load_file(path), path, {"ddcore": card.replace('"loss": "cross_entropy"', '"loss": "hinge"')})
    with pytest.raises(BadArtefact, match="card of .* is damaged"):
        DistilledSet.load(path)


@pytest.mark.parametrize("loss", LOSSES)
def test_evaluation_trains_with_the_loss_of_the_targets(loss, tiny):
    """One step of plain SGD, net by net, against the formula."""
    training = a_set(tiny, torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).abs(), loss)
    protocol = Protocol(steps=1, optimiser="sgd", momentum=0, lr=(0.1,), augment=None)
    network = PLAN.build(tiny.card)
    draw = train(network, training, tiny.card, protocol, 0.1, [0, 1], 0, torch.device("cpu"))
    still = train(network, training, tiny.card, protocol, 0.0, [0, 1], 0, torch.device("cpu"))
    for i in (0, 1):
        params = {name: value[i].clone().requires_grad_() for name, value in still.params.items()}
        logits = network(params, {}, training.inputs)
        if loss == "squared":
            value = ((logits - training.targets) ** 2).sum(1).mean() / 2
        else:
            value = -(training.targets * logits.log_softmax(1)).sum(1).mean()
        value.backward()
        for name, p in params.items():
            assert torch.allclose(draw.params[name][i], (p - 0.1 * p.grad).detach(), atol=1e-6), name


def test_squared_targets_teach_a_network_and_the_cross_entropy_would_not(tiny):
    """Targets whose largest entry is the class, but below zero: only their own loss can use them."""
    targets = 3 * (F.one_hot(tiny.train.targets, 3) - 1.0)
    whole = DistilledSet((tiny.train.inputs / 255 - 0.4) / 0.3, targets, tiny.card, "made", "", 0, loss="squared")
    protocol = Protocol(steps=60, lr=(5e-3,), repeats=2, networks=(PLAN,), augment=None)
    fitted = Standardise().start(tiny.card, dict)
    assert evaluate(whole, tiny, fitted, protocol)["accuracy"]["convnet"].mean > 80
    assert evaluate(replace(whole, loss="cross_entropy"), tiny, fitted, protocol)["accuracy"]["convnet"].mean < 50


def test_the_rate_warms_up_and_cools_down(tiny, monkeypatch):
    rates = []
    monkeypatch.setattr(import_module("ddcore.evaluate"), "_set_rate", lambda optimiser, lr: rates.append(lr))
    protocol = replace(Protocol.named("frepo"), steps=8, batch=8, repeats=1)
    training = a_set(tiny, torch.tensor([0, 1, 2]), "cross_entropy")
    train(PLAN.build(tiny.card), training, tiny.card, protocol, 1.0, [0], 0, torch.device("cpu"))
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])


def test_labels_that_leave_their_range_are_named_with_their_rate(host, small, tiny):
    recipe = small(host.recipe("dc", iterations=3), labels=Vectors())
    run = host.start(replace(recipe, update=Update(lr={"inputs": 0.1, "labels": 3e38}, momentum=0.9)), tiny)
    with pytest.raises(
        LossDiverged, match=r"no longer finite in its labels at step .* smaller update\.lr\.labels"
    ):
        run.go()
    assert torch.isfinite(run.synthetic.carrier.pixels).all()
