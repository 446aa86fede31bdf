"""Modules as people write them: each works as a network, or is refused in a sentence that says what to write."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import ddcore
from ddcore import ModuleNetwork, NetworkPlan, Protocol, RecipeRefused
from ddcore import plugin as dd
from ddcore.networks.checked import Trial


class Plain(nn.Module):
    """Convolution, linear layer, features."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, outputs)

    def features(self, x):
        return self.body(x).relu().mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


def changed(**methods):
    """:class:`Plain` with other methods."""
    return type("Changed", (Plain,), methods)


def made(change):
    """:class:`Plain`, changed by ``change`` once it is made."""

    def factory():
        module = Plain()
        change(module)
        return module

    return factory


class Frozen(Plain):
    """Its first layer is frozen."""

    def __init__(self):
        super().__init__()
        self.body.requires_grad_(False)


class Tied(nn.Module):
    """Two layers that share their weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3)
        self.second.weight = self.first.weight

    def features(self, x):
        return self.second(self.first(x.flatten(1)).tanh()).tanh()

    def forward(self, x):
        return self.head(self.features(x))


class Featureless(nn.Module):
    """It has no features."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, x):
        return self.layers(x)


class Deep(nn.Module):
    """Its features are not flat, as those of some models of torchvision."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Recurrent(nn.Module):
    """Rows of an image, one after another."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 3)

    def features(self, x):
        return self.rows(x[:, 0])[0][:, -1]

    def forward(self, x):
        return self.head(self.features(x))


class Normed(Plain):
    """With BatchNorm of any kind."""

    def __init__(self, **given):
        super().__init__()
        self.norm = nn.BatchNorm2d(4, **given)

    def features(self, x):
        return self.norm(self.body(x)).relu().mean((2, 3))


class Constants(Plain):
    """With buffers that are not saved, and a plain tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1,), 0.1), persistent=False)
        self.scale = torch.ones(1) * 2

    def features(self, x):
        return super().features((x - self.mean) * self.scale)


class Counting(Plain):
    """Its answer depends on how often it was asked."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class Idle(Plain):
    """It has a layer that it does not use."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Linear(4, 3)


class Noisy(Plain):
    """Noise that nobody sees from outside."""

    def features(self, x):
        return super().features(x + 0.1 * torch.randn_like(x) if self.training else x)


class FromNumpy(Plain):
    """It begins at numpy's random numbers."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.random.rand(3, 4)))


def centred(self, x):
    return self.head(self.features(x) - 0.5 * self.features(x).mean(0))


def chosen(self, x):
    return self.head(self.features(x)) if x.abs().max() < 100 else self.head(-self.features(x))


def in_place(self, x):
    x += 1
    return Plain.forward(self, x)


def clamped(self, x):
    self.head.weight.data.clamp_(-0.01, 0.01)
    return Plain.forward(self, x)


def without_gradient(self, x):
    with torch.no_grad():
        found = self.features(x)
    return self.head(found)


SHARED = Plain()
WORKS = {
    "plain": Plain,
    "frozen": Frozen,
    "tied": Tied,
    "featureless": Featureless,
    "features_that_are_not_flat": Deep,
    "recurrent": Recurrent,
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)),
    "hidden_noise": Noisy,
    "batch_norm": Normed,
    "batch_norm_of_all_batches": lambda: Normed(momentum=None),
    "constants": Constants,
    "way_by_numbers": changed(forward=chosen),
    "mixing": changed(forward=lambda self, x: centred(self, x) if self.training else Plain.forward(self, x)),
    "weight_norm": made(lambda m: parametrizations.weight_norm(m.body)),
    "spectral_norm": made(lambda m: parametrizations.spectral_norm(m.body)),
    "orthogonal": made(lambda m: parametrizations.orthogonal(m.head)),
    "hooks": made(lambda m: m.body.register_forward_hook(lambda module, given, out: out * 2)),
    "remembered_and_not_used": changed(forward=lambda self, x: setattr(self, "last", x) or Plain.forward(self, x)),
}
REFUSED = {
    "instance": (SHARED, r"write ModuleNetwork\(lambda: Plain\(...\)\)"),
    "no_module": (lambda: 5, "makes a int, and should an nn.Module"),
    "outputs": (lambda: Plain(1000), r"it must have 3 outputs for tiny, \(n, 3\)"),
    "fixed_batch": (
        changed(forward=lambda self, x: self.head(self.features(x.view(64, 1, 8, 8)))),
        "batches of any size",
    ),
    "fixed_shape": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), "cannot take 4 items of 1x8x8"),
    "tuple": (changed(forward=lambda self, x: (Plain.forward(self, x), 1)), "answers a tuple: .* the logits alone"),
    "dict": (
        changed(forward=lambda self, x: {"logits": Plain.forward(self, x)}),
        "answers a dict: .* the logits alone",
    ),
    "double": (lambda: Plain().double(), r"is torch.float64, .* float32: call .float\(\)"),
    "half": (lambda: Plain().half(), r"is torch.float16, .* float32: call .float\(\)"),
    "double_answer": (changed(forward=lambda self, x: Plain.forward(self, x).double()), "answers torch.float64"),
    "elsewhere": (lambda: Plain().to("meta"), "is made on meta: make the module on the CPU"),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "is lazy: say its size"),
    "in_place": (changed(forward=in_place), r"changes its input in place, .* write x = x \+ 1"),
    "parameters_in_place": (changed(forward=clamped), "changes the parameter .* in place"),
    "counting": (Counting, "answered otherwise the second time: .*register_buffer"),
    "noise_in_evaluation": (changed(forward=lambda self, x: Plain.forward(self, x) + torch.rand(1)), "random=True"),
    "noise_of_numpy": (changed(forward=lambda self, x: Plain.forward(self, x) * np.random.rand()), "second time"),
    "start_of_numpy": (FromNumpy, "draw it from torch's own random numbers"),
    "batch_in_evaluation": (lambda: Normed(track_running_stats=False), r"track_running_stats=True"),
    "mixing_in_evaluation": (changed(forward=centred), "depends on the others of its batch"),
    "idle": (Idle, r"inner.auxiliary.weight, inner.auxiliary.bias takes no part in the answer: remove it, or freeze"),
    "without_gradient": (changed(forward=without_gradient), "leave out torch.no_grad|takes no part"),
    "all_frozen": (made(lambda m: m.requires_grad_(False)), "no parameter that learns"),
    "way_by_the_batch": (
        changed(forward=lambda self, x: Plain.forward(self, x if x.sum() > 0 else -x)),
        "others of its",
    ),
}
MIXING = {"batch_norm", "batch_norm_of_all_batches", "way_by_numbers", "mixing", "recurrent"}
"""Whose items see each other, or may: torch cannot take them item by item."""
DRAWING = {"dropout", "hidden_noise"}
WITHOUT_FEATURES = {"featureless", "features_that_are_not_flat", "dropout"}


@dataclass(frozen=True)
class Own(NetworkPlan):
    """A module of the tables."""

    module: str = "plain"

    def build(self, card):
        return ModuleNetwork({**WORKS, **{name: factory for name, (factory, _) in REFUSED.items()}}[self.module])


class Plugin:
    @ddcore.hookimpl
    def ddcore_parts(self):
        return [Own]


@pytest.fixture
def host():
    return ddcore.Host({"own": Plugin()})


def small(host, method, module, **fields):
    recipe = host.recipe(method, iterations=2, overrides={"objective.real": 4})
    return replace(recipe, network=Own(module), augment=None, **fields)


@pytest.mark.parametrize("module", WORKS)
def test_what_is_found_of_a_module(module, tiny):
    network = Own(module).ready(tiny.card)
    assert network.per_sample is (module not in MIXING)
    assert network.stochastic is (module in DRAWING)
    assert ("features" in network.gives) is (module not in WITHOUT_FEATURES)


@pytest.mark.parametrize("method", ["dm", "dc"])
@pytest.mark.parametrize("module", WORKS)
def test_a_module_distils_and_evaluates_the_same_twice(module, method, host, tiny, request):
    recipe = replace(small(host, method, module), iterations=3)
    if method == "dm" and module in WITHOUT_FEATURES:
        with pytest.raises(RecipeRefused, match=r"needs a network that shows its features .* a method features\(x\)"):
            host.start(recipe, tiny)
        return
    distilled_twice = request.getfixturevalue("distilled_twice")
    torch.manual_seed(1)
    found = distilled_twice(recipe, tiny)
    protocol = Protocol(steps=3, batch=4, networks=(Own(module),), repeats=2)
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scores.append(ddcore.evaluate(found, tiny, protocol, seed=3, host=host))
    assert scores[0] == scores[1]


@pytest.mark.parametrize("module", REFUSED)
def test_a_module_that_is_no_network_is_refused_with_the_remedy(module, host, tiny):
    sentence = REFUSED[module][1]
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(small(host, "dc", module), tiny)
    with pytest.raises(RecipeRefused, match=sentence):
        Protocol(networks=(Own(module),)).check(tiny, host.catalogue)


def test_frozen_parameters_are_neither_trained_nor_matched_nor_clipped(host, tiny):
    network = Own("frozen").ready(tiny.card)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    assert set(params) == {"inner.head.weight", "inner.head.bias"}
    before = {name: value.clone() for name, value in buffers.items()}
    assert set(before) == {"inner.body.weight", "inner.body.bias"}
    run = host.start(small(host, "dc", "frozen"), tiny)
    run.start()
    draw = dd.Draw(network, params, buffers)
    (gradient,) = run.gate.gradient(draw, [dd.Group()], dd.cross_entropy)
    assert set(gradient) == set(params)
    for point in run.gate.fit(draw, dd.Fit(steps=3)):
        assert set(point) == set(params)
    assert all(torch.equal(value, buffers[name]) for name, value in before.items())


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("module", WORKS)
def test_a_gate_that_bounds_items_takes_modules_whose_items_are_apart(module, host, tiny):
    private = pytest.importorskip("ddcore_private.gate")
    gate = private.PrivateGate(noise_multiplier=1.0)
    recipe = replace(small(host, "dm", module), gate=gate, synthetic=ddcore.plugin.Pixels())
    if module in WITHOUT_FEATURES:
        recipe = replace(small(host, "dc", module), gate=gate, synthetic=ddcore.plugin.Pixels())
    if module in MIXING | DRAWING:
        with pytest.raises(RecipeRefused, match="none can be clipped|draws random numbers"):
            host.start(recipe, tiny)
        return
    run = host.start(recipe, tiny)
    draw, batch = run.ctx.fresh(), tiny.train.take(torch.arange(4))
    gradients = private.item_gradients(draw, dd.cross_entropy)(batch.inputs, batch.targets)
    assert set(gradients) == set(draw.params)
    assert all(len(gradient) == 4 for gradient in gradients.values())
    if module not in WITHOUT_FEATURES:
        assert len(private.item_features(draw)(batch.inputs, batch.targets)["features"]) == 4


def test_networks_of_the_core_are_what_they_say(host, tiny):
    for entry in host.catalogue.of("network"):
        if entry.maker.suits is None or "image" in entry.maker.suits:
            try:
                network = entry.maker().ready(tiny.card)
            except RecipeRefused:
                continue
            found = Trial(entry.name, network, tiny.card).found()
            assert (found.per_sample, found.stochastic) == (network.per_sample, network.stochastic)
            assert found.gives == network.gives


def test_a_plan_is_tried_once_for_a_card_in_a_run_and_anew_in_the_next(monkeypatch, host, tiny):
    tried, found = [], Trial.found
    monkeypatch.setattr(Trial, "found", lambda trial: tried.append(trial.what) or found(trial))
    plan = Own()
    protocol = Protocol(steps=1, repeats=1, lr=(0.1, 0.2), networks=(plan,))
    data = tiny.with_validation(0.2, seed=0)
    host.distill(replace(host.recipe("random"), network=plan), data)
    assert len(tried) == 1
    for run in (2, 3):
        ddcore.evaluate(data.train, data, protocol, host=host)
        assert len(tried) == run
