"""Evaluation: the ensemble against nets trained alone, selection on validation, the presets."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ddcore
from ddcore import Protocol, RecipeRefused, UnknownName
from ddcore.augment import mixing
from ddcore.augment.affine import Affine
from ddcore.augment.siamese import Siamese
from ddcore.evaluation.measures import Accuracy
from ddcore.evaluation.protocols import PRESETS, TOLD
from ddcore.evaluation.scores import evaluate
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.networks.mlp import MLP
from ddcore.networks.started import Started
from ddcore.optimisers import Sgd
from ddcore.preprocess import Identity, Standardise
from ddcore.schedules import Constant
from ddcore.tensors import LabelledTensors

spec = importlib.util.spec_from_file_location("plain", Path(__file__).parent / "benchmarks" / "plain.py")
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)

PLAN = ConvNet(width=4, depth=2)


@pytest.fixture
def training(tiny):
    return Preprocessed(tiny.train, Standardise().start(tiny.card, dict))


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(steps=12, batch=16),
        Protocol(steps=12, batch=16, augment=Siamese(ops=("crop", "cutout"))),
        ddcore.protocol("dc", epochs=4, batch=16),
    ],
    ids=["adam-affine", "adam-siamese", "sgd-half"],
)
def test_nets_trained_side_by_side_equal_nets_trained_alone(protocol, training, tiny):
    nets = (0, 1, 2)
    draw = train(PLAN.build(tiny.card), training, tiny.card, protocol, protocol.lr[0], nets, 5, torch.device("cpu"))
    test = Preprocessed(tiny.test, training.preprocess)
    scores = Accuracy()(draw, test, chunk=7).tolist()
    inputs, targets = test.take(torch.arange(len(test)))
    logits = draw(inputs.expand(3, *inputs.shape), training=False)
    for i in nets:
        # logits, not parameters: a bias before an instance norm has no gradient but rounding, which Adam blows up
        module = plain.train(PLAN, training, protocol, tiny.card, protocol.lr[0], i, 5)
        assert torch.allclose(logits[i], module(inputs), atol=1e-4)
        assert scores[i] == pytest.approx(plain.accuracy(module, inputs, targets))
    assert not torch.allclose(draw.params["head.weight"][0], draw.params["head.weight"][1])


def test_accuracy_counts_right_answers_in_percent(tiny):
    test = Preprocessed(tiny.test, Identity().start(tiny.card, dict))

    class Cheat:
        per_sample = True

        def __call__(self, params, buffers, x, **_):
            """Net 0 knows the bar's place, net 1 says class 0 always."""
            bars = x[0].mean((1, 3))[:, :6].unflatten(1, (3, 2)).mean(2)
            return torch.stack([bars, torch.tensor([1.0, 0, 0]).expand_as(bars)])

    draw = ddcore.Draw(Cheat(), {"none": torch.zeros(1)}, {}, ensemble=2)
    assert Accuracy()(draw, test, chunk=4).tolist() == pytest.approx([100, 100 / 3])


def test_the_whole_set_is_learned_and_noise_is_not(training, tiny):
    protocol = Protocol(steps=80, repeats=2, networks=(PLAN, MLP(width=8)), augment=None)
    scores = evaluate(training, tiny, training.preprocess, protocol)["accuracy"]
    assert scores.keys() == {"convnet", "mlp"}
    assert scores["convnet"].mean > 90
    assert len(scores["convnet"].values) == 2
    shuffled = replace(tiny, train=replace(tiny.train, targets=tiny.train.targets.roll(7)[torch.randperm(60)]))
    noise = evaluate(Preprocessed(shuffled.train, training.preprocess), tiny, training.preprocess, protocol)
    assert noise["accuracy"]["convnet"].mean < 80


def test_several_rates_are_chosen_on_validation_and_never_on_test(training, tiny):
    split = tiny.with_validation(0.3, seed=0)
    protocol = Protocol(steps=40, repeats=2, networks=(PLAN,), lr=(1e-7, 5e-3), augment=None)
    kept = Preprocessed(split.train, training.preprocess)
    chosen = evaluate(kept, split, training.preprocess, protocol)["accuracy"]["convnet"]
    assert chosen.lr == 5e-3
    # a test split with wrong labels cannot change the choice
    wrong = replace(split, test=replace(split.test, targets=(split.test.targets + 1) % 3))
    assert evaluate(kept, wrong, training.preprocess, protocol)["accuracy"]["convnet"].lr == 5e-3
    # a validation split with wrong labels can
    misled = replace(split, validation=replace(split.validation, targets=(split.validation.targets + 1) % 3))
    assert evaluate(kept, misled, training.preprocess, protocol)["accuracy"]["convnet"].lr == 1e-7
    with pytest.raises(RecipeRefused, match="wants a validation split of T to choose on"):
        evaluate(training, tiny, training.preprocess, protocol)


def test_scores_are_seeded(training, tiny):
    protocol = Protocol(steps=5, repeats=2, networks=(PLAN,))
    one, two, other = (evaluate(training, tiny, training.preprocess, protocol, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one != other


def test_presets_are_what_they_are_named_for():
    dc, dsa, quick = (ddcore.protocol(name) for name in ("dc", "dsa", "quick"))
    assert (dc.epochs, dc.batch, dc.lr, dc.momentum, dc.weight_decay) == (300, 256, (0.01,), 0.9, 5e-4)
    assert (dc.optimiser, dc.schedule, dc.augment) == ("sgd", "half", None)
    assert (dsa.epochs, dsa.augment) == (1000, Siamese())
    assert (quick.steps, quick.optimiser, quick.augment) == (250, "adam", Affine())
    assert dc.length(10) == 300
    assert dc.length(257) == 600
    with pytest.raises(UnknownName, match="no protocol named 'quik'. Did you mean quick"):
        ddcore.protocol("quik")


@pytest.mark.parametrize("fields", [{"epochs": 3}, {"steps": None}, {"repeats": 0}, {"networks": ()}, {"lr": ()}])
def test_protocols_that_say_nothing_are_refused(fields):
    with pytest.raises(RecipeRefused, match="A protocol"):
        Protocol(**fields)


def test_every_preset_is_told():
    assert TOLD.keys() == PRESETS.keys()


def test_protocols_survive_toml(host):
    from ddcore.packing import from_dict, parse_toml, to_toml

    dd = ddcore.protocol("dd")
    assert (dd.optimiser, dd.momentum, dd.steps, dd.lr, dd.augment, dd.replay) == ("sgd", 0.0, 30, (0.02,), None, True)
    rtp = ddcore.protocol("rtp")
    assert (rtp.epochs, rtp.batch, rtp.lr, rtp.momentum, rtp.schedule) == (300, 640, (0.01,), 0.9, "constant")
    assert (rtp.augment, rtp.weight_decay) == (None, 0.0)
    for name in PRESETS:
        protocol = ddcore.protocol(name, networks=(ConvNet(norm="batch"), MLP()))
        assert from_dict(Protocol, parse_toml(to_toml(protocol), "here"), host.catalogue) == protocol


def test_a_learned_step_size_is_used_where_the_protocol_says_so(training, tiny, monkeypatch):
    from ddcore import DistilledSet

    inputs, targets = training.take(torch.arange(60))
    own = DistilledSet(LabelledTensors(inputs, targets, step_sizes=torch.tensor([0.03])), tiny.card, "mtt", "", 0)
    protocol = ddcore.protocol("mtt", epochs=2, repeats=1, networks=(PLAN,))
    assert evaluate(own, tiny, training.preprocess, protocol)["accuracy"]["convnet"].lr == pytest.approx(0.03)
    assert evaluate(training, tiny, training.preprocess, protocol)["accuracy"]["convnet"].lr == 0.01
    given = replace(protocol, learned_lr=False)
    assert evaluate(own, tiny, training.preprocess, given)["accuracy"]["convnet"].lr == 0.01


def test_the_rate_falls_in_thirds(training, tiny, monkeypatch):
    rates = []
    build = Protocol.build_optimiser

    def watched(self, params, lr):
        optimiser = build(self, params, lr)
        step = optimiser.step
        monkeypatch.setattr(optimiser, "step", lambda: rates.append(optimiser.param_groups[0]["lr"]) or step())
        return optimiser

    monkeypatch.setattr(Protocol, "build_optimiser", watched)
    protocol = ddcore.protocol("idc", epochs=None, steps=12, batch=8, repeats=1, networks=(PLAN,))
    train(PLAN.build(tiny.card), training, tiny.card, protocol, 1.0, [0], 0, torch.device("cpu"))
    assert rates == pytest.approx([1.0] * 8 + [0.2] * 2 + [0.04] * 2)


def test_cutmix_mixes_half_of_the_batches_net_by_net(training, tiny, monkeypatch):
    """What a net is trained on does not depend on the nets beside it, and soft labels may be mixed too."""
    boxes = []
    mix = mixing.CutMix.__call__
    monkeypatch.setattr(mixing.CutMix, "__call__", lambda self, x, y: boxes.append(self.rows) or mix(self, x, y))
    protocol = ddcore.protocol("idc", epochs=None, steps=60, batch=8, networks=(PLAN,))
    together = train(PLAN.build(tiny.card), training, tiny.card, protocol, 0.01, [0, 1], 0, torch.device("cpu"))
    mixed = [rows != slice(0, 0) for rows in boxes]
    assert len(mixed) == 120
    assert 40 < sum(mixed) < 80
    alone = train(PLAN.build(tiny.card), training, tiny.card, protocol, 0.01, [1], 0, torch.device("cpu"))
    assert torch.allclose(together.params["head.weight"][1], alone.params["head.weight"][0], atol=1e-4)


def test_parameters_may_be_changed_after_each_step(training, tiny):
    """Weights that are halved after each step: w <- ( w - a g ) / 2, slowly."""
    protocol = Protocol(
        steps=3,
        batch=60,
        optimiser=Sgd(momentum=0.0),
        lr=(0.1,),
        schedule=Constant(),
        augment=None,
    )
    network = PLAN.build(tiny.card)
    start = {name: value.double() for name, value in network.init(torch.Generator().manual_seed(0))[0].items()}
    begun = Started(network, lambda generator: ({name: value.float() for name, value in start.items()}, {}))

    def halve(params):
        for value in params.values():
            value *= 0.5

    found = train(begun, training, tiny.card, protocol, 0.1, [0], 0, torch.device("cpu"), after_step=halve).params
    inputs, targets = training.take(torch.arange(60))
    for _ in range(3):
        start = {name: value.requires_grad_() for name, value in start.items()}
        loss = cross_entropy(network(start, {}, inputs.double()), targets).mean()
        grads = torch.autograd.grad(loss, list(start.values()))
        start = {name: ((value - 0.1 * g) / 2).detach() for (name, value), g in zip(start.items(), grads, strict=True)}
    assert all(torch.allclose(found[name][0].double(), value, atol=1e-5) for name, value in start.items())
