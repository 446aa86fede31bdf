"""Evaluation: the ensemble against nets trained alone, selection on validation, the presets."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

import ddcore
from ddcore import Protocol, RecipeRefused, Settings, UnknownName, plain
from ddcore.augment import mixing
from ddcore.augment.affine import Affine
from ddcore.augment.siamese import Siamese
from ddcore.cli.options import Options
from ddcore.datasets.torchvision import Mnist
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.calibration import CalibrationError
from ddcore.evaluation.diverged import measured
from ddcore.evaluation.measures import Measure
from ddcore.evaluation.predictions import predictions
from ddcore.evaluation.preset import preset
from ddcore.evaluation.scores import evaluate
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.experiment.reading import papers_of, preset_of, presets
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.networks.mlp import MLP
from ddcore.networks.started import Started
from ddcore.optimisers import Adam, Sgd
from ddcore.preprocess import Identity, Standardise
from ddcore.schedules import Constant, Half, Thirds
from ddcore.tensors import LabelledTensors

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
    assert (dc.epochs, dc.batch, dc.lr, dc.augment) == (300, 256, (0.01,), None)
    assert (dc.optimiser, dc.schedule) == (Sgd(momentum=0.9, weight_decay=5e-4), Half())
    assert (dsa.epochs, dsa.augment) == (1000, Siamese())
    assert (quick.steps, quick.epochs, quick.optimiser, quick.augment) == (None, None, Adam(), Affine())
    assert dc.length(10) == 300
    assert dc.length(257) == 600
    with pytest.raises(UnknownName, match="no protocol named 'quik'. Did you mean quick"):
        ddcore.protocol("quik")


@pytest.mark.parametrize("fields", [{"steps": 2, "epochs": 3}, {"repeats": 0}, {"networks": ()}, {"lr": ()}])
def test_protocols_that_say_nothing_are_refused(fields):
    with pytest.raises(RecipeRefused, match="protocol"):
        Protocol(**fields)


@pytest.mark.parametrize(
    ("items", "steps"),
    [(1, 250), (200, 250), (201, 252), (400, 500), (800, 1000), (1437, 1000), (21_334, 1002), (60_000, 2814)],
)
def test_the_length_of_quick_follows_the_set(items, steps):
    assert Protocol().length(items) == steps
    assert Protocol(steps=7).length(items) == 7
    assert Protocol(epochs=2).length(items) == 2 * -(-items // 64)


def test_a_preset_is_what_its_authors_do_on_the_data(tiny):
    mnist = replace(tiny, card=replace(tiny.card, name="mnist"))
    of_mnist = ddcore.protocol("dc", data=mnist)
    assert (of_mnist.epochs, of_mnist.augment) == (1000, Affine(45.0, 1 / 7, 0.2, one=True))
    assert of_mnist == ddcore.protocol("dc_mnist") != ddcore.protocol("dc", data=tiny) == ddcore.protocol("dc")
    options = Options(data="mnist", protocol="dc")
    settings = options.laid_over(ddcore.Host(), Settings(Mnist("nowhere")), {})
    assert settings.protocol == of_mnist


def test_presets_are_found_through_the_catalogue_with_their_papers_and_docstrings():
    class Plugin:
        @staticmethod
        @ddcore.hookimpl
        def ddcore_parts():
            return [slow]

    @preset(ddcore.Citation("a", "A", "T", "V", 2020))
    def slow():
        """Twice as long as quick."""
        return Protocol(steps=500)

    host = ddcore.Host({"mine": Plugin()})
    assert host.protocol("slow", repeats=2) == Protocol(steps=500, repeats=2)
    assert host.protocol("slow", overrides={"batch": "8"}).batch == 8
    assert preset_of(host.protocol("slow", networks=(MLP(),)), host) == "slow"
    assert preset_of(Protocol(steps=3), host) is None
    for entry in presets(host):
        assert entry.maker.__doc__
        assert entry.name in ("quick", "slow") or entry.maker.cites
    papers = {paper.key for paper in papers_of(host.recipe("dm"), host, host.protocol("slow"))}
    assert {"a", "gidaris2018dynamic"} <= papers
    assert "a" not in {paper.key for paper in papers_of(host.recipe("dm"), host, Protocol())}


def test_protocols_survive_toml(host):
    from ddcore.packing import from_dict, parse_toml, to_toml

    dd = ddcore.protocol("dd")
    assert (dd.optimiser, dd.steps, dd.lr, dd.augment, dd.replay) == (Sgd(momentum=0.0), 30, (0.02,), None, True)
    rtp = ddcore.protocol("rtp")
    assert (rtp.epochs, rtp.batch, rtp.lr, rtp.augment) == (300, 640, (0.01,), None)
    assert (rtp.optimiser, rtp.schedule) == (Sgd(momentum=0.9), Constant())
    for entry in presets(host):
        measures = (Accuracy(), CalibrationError(bins=5))
        networks = (ConvNet(norm="batch"), MLP())
        protocol = host.protocol(entry.name, networks=networks, measures=measures, chosen_by="calibration_error")
        assert from_dict(Protocol, parse_toml(to_toml(protocol), "here"), host.catalogue) == protocol


def test_a_learned_step_size_is_used_where_the_protocol_says_so(training, tiny, monkeypatch):
    from ddcore import DistilledSet

    inputs, targets = training.take(torch.arange(60))
    own = DistilledSet(LabelledTensors(inputs, targets, step_sizes=torch.tensor([0.03])), tiny.card, "mtt", "", 4000)
    protocol = ddcore.protocol("mtt", epochs=2, repeats=1, networks=(PLAN,))
    assert evaluate(own, tiny, training.preprocess, protocol)["accuracy"]["convnet"].lr == pytest.approx(0.03)
    assert evaluate(training, tiny, training.preprocess, protocol)["accuracy"]["convnet"].lr == 0.01
    given = replace(protocol, learned_lr=False)
    assert evaluate(own, tiny, training.preprocess, given)["accuracy"]["convnet"].lr == 0.01


def test_the_rate_falls_in_thirds(training, tiny, monkeypatch):
    rates = []
    rate = Thirds.rate
    monkeypatch.setattr(Thirds, "rate", lambda *given: rates.append(rate(*given)) or rates[-1])
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


# --- measures --------------------------------------------------------------------------------------------


class Told(ddcore.plugin.Network):
    """Answers the given logits (e, n, k), whatever it is shown."""

    per_sample = True

    def __init__(self, logits):
        self.logits = logits

    def init(self, generator):
        return {"none": torch.zeros(1)}, {}

    def apply(self, call, x):
        rows = x[0].flatten(1)[:, 0].long()
        return self.logits[:, rows]


class Rows:
    """Items that are their own place."""

    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def take(self, index):
        return index[:, None].float(), self.targets[index]


def told(logits):
    return ddcore.Draw(Told(logits), {"none": torch.zeros(len(logits), 1)}, {}, ensemble=len(logits))


def test_the_calibration_error_bin_by_bin():
    """Against sums over bins, slowly."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = 2 * torch.randn(2, 50, 3, generator=generator), torch.randint(0, 3, (50,), generator=generator)
    found = CalibrationError(bins=4)(told(logits), Rows(targets), chunk=7).tolist()
    for net, error in zip(logits.double(), found, strict=True):
        confidence, said = net.softmax(1).max(1)
        wanted = 0.0
        for low in (0.0, 0.25, 0.5, 0.75):
            inside = (confidence > low) & (confidence <= low + 0.25)
            if inside.any():
                accuracy = (said[inside] == targets[inside]).double().mean()
                wanted += float(inside.sum() / 50 * (accuracy - confidence[inside].mean()).abs())
        assert error == pytest.approx(100 * wanted)
    sure = torch.nn.functional.one_hot(targets, 3)[None] * 100.0
    assert CalibrationError()(told(sure), Rows(targets), chunk=50).tolist() == pytest.approx([0.0])
    assert CalibrationError()(told(sure.roll(1, 2)), Rows(targets), chunk=50).tolist() == pytest.approx([100.0])


@dataclass(frozen=True)
class Share(Measure):
    """The share of predictions that are of one class, in percent; of the artefact's first class once it is known."""

    of_class: int = 0

    def of(self, distilled):
        return replace(self, of_class=int(distilled.targets[-1]))

    def __call__(self, draw, data, chunk):
        return 100 * torch.cat(
            [x.argmax(2) == self.of_class for x, _ in predictions(draw, data, chunk)], 1
        ).float().mean(1)


def test_every_measure_is_reported_and_knows_the_set_it_is_about(host, small, tiny):
    distilled = host.distill(small(host.recipe("random")), tiny)
    measures = (Accuracy(), CalibrationError(), Share(), Share(1), Share(2))
    protocol = Protocol(steps=30, repeats=2, networks=(PLAN, replace(PLAN, width=8)), measures=measures)
    scores = ddcore.evaluate(distilled, tiny, protocol)
    assert list(scores) == ["accuracy", "calibration_error", *(f"share(of_class={c})" for c in range(3))]
    assert all(list(found) == ["convnet(width=4)", "convnet(width=8)"] for found in scores.values())
    assert scores["share(of_class=0)"] == scores["share(of_class=1)"], "all of them look for the artefact's class"
    real = ddcore.evaluate(tiny.train, tiny, protocol)
    shares = [real[f"share(of_class={c})"]["convnet(width=4)"].values for c in range(3)]
    assert [sum(net) for net in zip(*shares, strict=True)] == pytest.approx([100, 100])


def test_the_measure_that_is_named_chooses_among_rates(training, tiny):
    split = tiny.with_validation(0.3, seed=0)
    kept = Preprocessed(split.train, training.preprocess)
    measures = (Accuracy(), CalibrationError())
    protocol = Protocol(steps=40, repeats=2, networks=(PLAN,), lr=(1e-7, 5e-3), augment=None, measures=measures)
    assert evaluate(kept, split, training.preprocess, protocol)["accuracy"]["convnet"].lr == 5e-3
    # confidence without knowledge: what is sure is wrong, so the net that learned nothing is the better calibrated
    misled = replace(split, validation=replace(split.validation, targets=(split.validation.targets + 1) % 3))
    chosen = replace(protocol, chosen_by="calibration_error")
    scores = evaluate(kept, misled, training.preprocess, chosen)
    assert scores["calibration_error"]["convnet"].lr == 1e-7
    assert scores["accuracy"]["convnet"].lr == 1e-7


def test_a_net_that_diverged_is_no_number_and_never_chosen(training, tiny):
    split = tiny.with_validation(0.3, seed=0)
    kept = Preprocessed(split.train, training.preprocess)
    plain = {"optimiser": Sgd(momentum=0.0), "schedule": Constant(), "augment": None, "networks": (MLP(width=4),)}
    wild = Protocol(steps=5, repeats=2, lr=(1e30,), **plain)
    score = evaluate(kept, split, training.preprocess, wild)["accuracy"]["mlp"]
    assert (score.diverged, len(score.values)) == (2, 2)
    assert math.isnan(score.mean) and math.isnan(score.std)
    assert score.plain() == {"mean": None, "std": None, "values": [None, None], "lr": 1e30}
    for lr in ((1e30, 1e-7), (1e-7, 1e30)):
        chosen = evaluate(kept, split, training.preprocess, replace(wild, lr=lr))["accuracy"]["mlp"]
        assert (chosen.lr, chosen.diverged) == (1e-7, 0)


def test_outputs_that_are_not_finite_count_as_diverged_and_the_rest_are_averaged():
    targets = torch.tensor([0, 1, 2])
    logits = torch.eye(3)[None].repeat(3, 1, 1)
    logits[1, 2, 0] = torch.nan
    values = measured(Accuracy(), told(logits), Rows(targets), chunk=2)
    assert values[0] == values[2] == 100 and math.isnan(values[1])
    score = ddcore.Score((100.0, math.nan, 50.0), 0.1)
    assert (score.mean, score.diverged) == (75.0, 1)
    assert score.std == pytest.approx(1250**0.5)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"networks": (PLAN, PLAN)}, "networks holds the same one twice: convnet, convnet"),
        ({"measures": (Accuracy(), Accuracy())}, "measures holds the same one twice"),
        ({"chosen_by": "accurracy"}, "no measure of the protocol named 'accurracy'. Did you mean accuracy"),
        ({"lr": (0.1, -1.0)}, "lr = -1.0: it must be above 0"),
        ({"lr": (float("nan"),)}, "lr = nan"),
        ({"cutmix": 1.5}, "cutmix = 1.5: it must be at least 0 and at most 1"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(fields, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        Protocol(**fields)


def test_a_protocol_is_checked_against_the_data_before_anything_is_trained(tiny):
    @dataclass(frozen=True)
    class Sounding(Accuracy):
        suits = frozenset({"signal"})

    @dataclass(frozen=True)
    class Needing(Accuracy):
        @property
        def needs(self):
            return frozenset({"batch_norm"})

    for fields, sentence in (
        ({"measures": (Sounding(),)}, "measures = sounding is for items of the kind signal"),
        (
            {"measures": (Needing(),)},
            "protocol.measures = needing needs batch_norm, which the network convnet does not",
        ),
        ({"networks": (ConvNet(depth=5),)}, "take network.depth = 3 or less"),
    ):
        with pytest.raises(RecipeRefused, match=sentence):
            Protocol(**fields).check(tiny)
    Protocol(networks=(replace(PLAN, norm="batch"),), measures=(Needing(),)).check(tiny)


# --- any training set ------------------------------------------------------------------------------------


def test_real_items_and_a_gate_s_source_are_training_sets_too(tiny, host):
    protocol = Protocol(steps=60, repeats=2, networks=(PLAN,), augment=None)
    whole = ddcore.evaluate(tiny.train, tiny, protocol)["accuracy"]["convnet"]
    assert whole.mean > 80
    source = ddcore.plugin.Source(tiny.train, (), ddcore.Streams(0), torch.device("cpu"))
    assert ddcore.evaluate(source, tiny, protocol)["accuracy"]["convnet"] == whole
    part = tiny.train.subset(torch.arange(0, 60, 7))
    assert ddcore.evaluate(part, tiny, protocol)["accuracy"]["convnet"] != whole

    @dataclass(frozen=True)
    class Shifted(ddcore.View):
        """Each item is said to be of the next class."""

        def build(self, store, rng):
            return self

        def relabel(self, targets):
            return (targets + 1) % 3

        def apply(self, batch, draw):
            return batch

    source = ddcore.plugin.Source(tiny.train, (Shifted(),), ddcore.Streams(0), torch.device("cpu"))
    assert ddcore.evaluate(source, tiny, protocol)["accuracy"]["convnet"].mean < 20


def test_the_split_and_the_preprocessing_may_be_named(tiny):
    protocol = Protocol(steps=20, repeats=1, networks=(PLAN,), augment=None)
    with pytest.raises(RecipeRefused, match="tiny has no validation split"):
        ddcore.evaluate(tiny.train, tiny, protocol, split="validation")
    split = tiny.with_validation(0.3, seed=0)
    wrong = replace(split, validation=replace(split.validation, targets=(split.validation.targets + 1) % 3))
    plain, misled = (
        ddcore.evaluate(split.train, data, protocol, split="validation")["accuracy"]["convnet"]
        for data in (split, wrong)
    )
    assert plain != misled
    protocol = replace(protocol, networks=(MLP(width=4),), measures=(CalibrationError(),))
    raw = ddcore.evaluate(tiny.train, tiny, protocol, preprocess=Identity())
    fitted = ddcore.evaluate(tiny.train, tiny, protocol, preprocess=Identity().start(tiny.card, dict))
    assert raw == fitted != ddcore.evaluate(tiny.train, tiny, protocol)
    own = Preprocessed(tiny.train, Identity().start(tiny.card, dict))
    with pytest.raises(RecipeRefused, match="Say with preprocess="):
        ddcore.evaluate(own, tiny, protocol)
    assert ddcore.evaluate(own, tiny, protocol, preprocess=Identity()) == raw


def test_an_attack_changes_each_batch_against_the_net_that_is_trained(training, tiny):
    """One step of plain SGD on x + 0.1 sign(dl/dx), net by net, slowly."""
    plain = {"optimiser": Sgd(momentum=0.0), "schedule": Constant(), "augment": None}
    protocol = Protocol(steps=1, batch=60, lr=(0.1,), **plain)
    network = PLAN.build(tiny.card)

    def attack(draw, inputs, targets):
        x = inputs.detach().requires_grad_()
        loss = cross_entropy(draw(x).flatten(0, 1), targets.flatten(0, 1)).sum()
        return x + 0.1 * torch.autograd.grad(loss, x)[0].sign()

    given = (network, training, tiny.card, protocol, 0.1, [0, 1], 0, torch.device("cpu"))
    found = train(*given, attack=attack).params
    inputs, targets = training.take(torch.arange(60))
    for i in range(2):
        start = network.init(ddcore.Streams(0)[f"net/{i}"])[0]
        leaves = {name: value.requires_grad_() for name, value in start.items()}
        x = inputs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(network(leaves, {}, x), targets).sum(), x)
        loss = cross_entropy(network(leaves, {}, inputs + 0.1 * slope.sign()), targets).mean()
        grads = torch.autograd.grad(loss, list(leaves.values()))
        for (name, value), gradient in zip(leaves.items(), grads, strict=True):
            assert torch.allclose(found[name][i], value - 0.1 * gradient, atol=1e-4), name
    scores = [
        ddcore.evaluate(tiny.train, tiny, replace(protocol, steps=3, repeats=1, networks=(PLAN,)), attack=made)
        for made in (None, attack)
    ]
    assert scores[0].keys() == scores[1].keys() == {"accuracy"}
