"""The door to the real data: what it answers, in chunks and whole, and what views do inside it."""

import inspect
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from ddcore import Gate, Group, LiveView, RecipeRefused, View, device
from ddcore.chunking import slices
from ddcore.gate.base import GatePlan
from ddcore.gate.curriculum import Curriculum
from ddcore.gate.fit import Fit
from ddcore.gate.open import Open, _compiled
from ddcore.gate.spent import Spent
from ddcore.gate.wrapped import WrappedGate
from ddcore.losses import cross_entropy, squared
from ddcore.networks.convnet import ConvNet
from ddcore.optimisers import Sgd
from ddcore.rng import Streams
from ddcore.types import Batch, Network, WrappedNetwork


def begun(host, small, data, **fields):
    run = host.start(small(host.recipe("dm"), **fields), data)
    run.start()
    return run


def real(run, data, rows):
    return run.preprocess(data.train.take(rows).inputs)


def test_gradient_is_each_groups_mean(host, small, tiny):
    run = begun(host, small, tiny)
    draw = run.ctx.fresh()
    groups = [Group(classes=(c,)) for c in range(3)]
    found = run.gate.gradient(draw, groups, cross_entropy)
    for c, gradient in enumerate(found):
        rows = tiny.train.draw(run.rng["real"], (c,))
        leaves = {name: value.clone().requires_grad_() for name, value in draw.params.items()}
        loss = F.cross_entropy(draw(real(run, tiny, rows), leaves), torch.full((20,), c))
        for name, value in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            assert torch.allclose(gradient[name], value, atol=1e-6)
            assert not gradient[name].requires_grad


@pytest.fixture
def short_products(monkeypatch):
    """A machine with hardware for bfloat16, as far as its seconds say."""
    monkeypatch.setattr(device, "_product_seconds", lambda dtype, _: 1.0 if dtype == torch.bfloat16 else 2.0)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_features_in_bfloat16_are_near_those_in_float32(host, small, tiny, short_products, norm):
    network = ConvNet(width=8, norm=norm)
    exact, short = (begun(host, small, tiny, gate=Open(precision=p), network=network) for p in ("float32", "bfloat16"))
    groups = [Group(classes=(c,), size=20) for c in range(3)]
    wanted, found = (run.gate.features(run.ctx.fresh(), groups) for run in (exact, short))
    for a, b in zip(wanted, found, strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() < 0.02 * a.norm()
    assert short.update() != exact.update()


@pytest.mark.parametrize("method", ["dc", "mtt", "sre2l"])
def test_gradients_are_not_served_in_bfloat16(host, tiny, method, short_products):
    recipe = host.recipe(method, overrides={"gate.precision": "bfloat16"})
    with pytest.raises(RecipeRefused, match=r"asks (gradient|fit) .* Take gate\.precision = float32"):
        recipe.check(tiny.card)


def test_bfloat16_is_refused_where_it_is_slower(host, tiny, monkeypatch):
    monkeypatch.setattr(device, "_product_seconds", lambda dtype, _: 9.0 if dtype == torch.bfloat16 else 2.0)
    with pytest.raises(RecipeRefused, match=r"bfloat16: products take 4\.5 times as long as in float32 on this cpu"):
        host.start(host.recipe("dm", overrides={"gate.precision": "bfloat16"}), tiny)


@pytest.fixture
def fresh_compiler():
    """Nothing is remembered of what compiles, before the test and after it."""

    def forget():
        device.check_compiler.cache_clear()
        _compiled.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_network_is_traced_once_for_all_networks_and_sizes(host, small, tiny, monkeypatch):
    """By a compiler that leaves what was traced as it is; what g++ makes of it is compared in the benchmarks."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    traced = torch._dynamo.utils.counters["stats"]
    plain, compiled = (begun(host, small, tiny, gate=Open(compiled=on)) for on in (False, True))
    counts = [traced["unique_graphs"]]
    for size in (20, 7, 5, 11, 13, 9):
        groups = [Group(classes=(c,), size=size) for c in range(3)]
        wanted, found = (run.gate.features(run.ctx.fresh(), groups) for run in (plain, compiled))
        for a, b in zip(wanted, found, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
        counts.append(traced["unique_graphs"])
    assert counts[0] < counts[1]
    assert counts[-4:] == [counts[-1]] * 4


@pytest.mark.usefixtures("fresh_compiler")
def test_what_cannot_compile_is_refused_before_the_work(host, small, tiny, monkeypatch):
    def no_compiler(*_):
        raise RuntimeError("No working C++ compiler found. See the manual.\nMore of it")

    monkeypatch.setattr(torch, "compile", lambda _: no_compiler)
    with pytest.raises(RecipeRefused, match=r"this cpu: No working C\+\+ compiler found\. It needs a C\+\+ compiler"):
        begun(host, small, tiny, gate=Open(compiled=True))


@pytest.mark.parametrize("max_bytes", [1, 4 * 4 * 64 * 7, 2**40])
def test_chunks_change_nothing(host, small, tiny, max_bytes):
    """One item a chunk, chunks that cut across groups, and all at once give the same means."""
    answers = []
    for size in (max_bytes, 2**40):
        run = begun(host, small, tiny, gate=Open(max_bytes=size))
        groups = [Group(classes=(c,), size=5 + c, transform=run.ctx.transform()) for c in range(3)]
        draw = run.ctx.fresh()
        answers.append((run.gate.features(draw, groups), run.gate.gradient(draw, groups, cross_entropy)))
    (features, gradients), (features_whole, gradients_whole) = answers
    for a, b in zip(features, features_whole, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    for a, b in zip(gradients, gradients_whole, strict=True):
        assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_features_are_means_only_of_what_was_asked(host, small, tiny):
    run = begun(host, small, tiny)
    draw = run.ctx.fresh()
    (mean,) = run.gate.features(draw, [Group(classes=(1,))])
    rows = tiny.train.draw(run.rng["real"], (1,))
    assert torch.allclose(mean, draw(real(run, tiny, rows), features=True).mean(0), atol=1e-6)


def test_batch_norm_networks_see_all_classes_as_one_batch(host, small, tiny):
    run = begun(host, small, tiny, network=ConvNet(width=4, depth=2, norm="batch"))
    draw = run.ctx.fresh()
    found = run.gate.features(draw, [Group(classes=(c,)) for c in range(3)])
    joint = draw(real(run, tiny, torch.arange(60)), features=True)
    for c, mean in enumerate(found):
        assert torch.allclose(mean, joint[20 * c : 20 * c + 20].mean(0), atol=1e-5)


def test_statistics_are_those_of_the_items(host, small, tiny):
    bare = replace(tiny, card=replace(tiny.card, mean=None, std=None))
    run = begun(host, small, bare)
    raw = tiny.train.inputs.double() / 255
    found = run.gate.statistics()
    assert float(found["mean"]) == pytest.approx(float(raw.mean()), rel=1e-6)
    assert float(found["std"]) == pytest.approx(float(raw.std(unbiased=False)), rel=1e-6)
    assert torch.equal(run.preprocess.mean, found["mean"]), "fitted through the gate where the card declares nothing"


def test_a_curriculum_begins_with_easy_items_and_ends_with_hard_ones(host, small, tiny, monkeypatch):
    """Written slowly: scores by the network of a short fit of its own; ten steps, and what each may draw from."""
    run = host.start(small(host.recipe("dm", ipc=1)), tiny)
    run.start()
    gate, draw, store = run.gate.unwrapped, run.ctx.fresh(), run.gate.source.store
    fit = Fit(steps=10, batch=5, lr=0.05, curriculum=Curriculum(easy=0.5, added=0.3, removed=0.4, kept=0.7, scored=4))
    drawn, before = [], store.draw

    def seen(self, generator, classes=None, size=None, among=None):
        drawn.append(before(generator, classes, size, among))
        return drawn[-1]

    monkeypatch.setattr(type(store), "draw", seen)
    gate.with_streams(Streams(5)).fit(draw, fit)
    asked = [rows for rows in drawn if len(rows) == 5]
    assert len(asked) == 4 + 10
    (params,) = gate.with_streams(Streams(5)).fit(draw, replace(fit, steps=4, curriculum=None))
    easier = torch.empty(len(store))
    for c in range(3):
        rows = torch.arange(*store.offsets[c : c + 2])
        shares = replace(draw, params=params)(gate.source.preprocess(store.take(rows).inputs)).softmax(1)
        score = (shares - torch.eye(3)[c]).square().sum(1).sqrt()
        easier[rows] = (score[:, None] > score[None]).float().mean(1)
    for step, rows in enumerate(asked[4:]):
        first = 0.5 + 0.5 * min(1.0, step / 10 / 0.3)
        assert bool((easier[rows] < first).all())
        assert step < 7 or bool((easier[rows] >= 0.4).all())
    assert bool((easier[torch.cat(asked[8:11])] < 0.4).any()), "all come in between"


def test_a_curriculum_that_leaves_nothing_or_knows_no_classes_is_refused(host, small, tiny):
    with pytest.raises(RecipeRefused, match=r"kept = 0.1: easy items can be left out once all .* added = 0.2"):
        Curriculum(kept=0.1)
    said = {"policy.fit.curriculum.name": "curriculum", "policy.fit.curriculum.removed": 0.99}
    recipe = host.recipe("mtt", ipc=1, overrides=said)
    with pytest.raises(RecipeRefused, match=r"curriculum.removed = 0.99 leaves nothing of a class of 20"):
        host.start(small(recipe), tiny)


def test_fit_trains_and_keeps_its_snapshots(host, small, tiny):
    run = begun(host, small, tiny)
    draw = run.ctx.fresh()
    way = run.gate.fit(draw, Fit(steps=30, batch=30, lr=0.05, snapshots=3))
    inputs = real(run, tiny, torch.arange(60))
    losses = [float(cross_entropy(draw(inputs, p), tiny.train.targets).mean()) for p in (draw.params, *way)]
    assert len(way) == 3
    assert losses[3] < losses[2] < losses[0]


def test_groups_must_be_disjoint(host, small, tiny):
    run = begun(host, small, tiny)
    for groups in ([Group(classes=(0, 1)), Group(classes=(1,))], [Group(), Group(classes=(0,))]):
        with pytest.raises(ValueError, match="must be disjoint"):
            run.gate.examples(groups)


@dataclass(frozen=True)
class Shuffled(View):
    """Every label one further, and every image inverted."""

    def build(self, store, rng):
        return LiveShuffled(store.classes)


class LiveShuffled(LiveView):
    def __init__(self, classes):
        self.classes = classes
        self.draws = []

    def relabel(self, targets):
        return (targets + 1) % self.classes

    def apply(self, batch, draw):
        self.draws.append(draw)
        return Batch(1 - batch.inputs, batch.targets, batch.index)


def test_a_view_stands_inside_the_door_and_relabels_before_the_classes_are_sorted(host, small, tiny):
    run = begun(host, small, tiny, views=(Shuffled(),))
    (batch,) = run.gate.examples([Group(classes=(1,))])
    assert batch.targets.tolist() == [1] * 20
    expected = run.preprocess(1 - tiny.train.take(tiny.train.draw(run.rng["real"], (0,))).inputs)
    assert torch.equal(batch.inputs, expected), "the items of class 1 are those that were of class 0, inverted"
    live = run.gate.find(LiveShuffled)
    draw = run.ctx.fresh()
    run.gate.gradient(draw, [Group(classes=(0,), size=2)], cross_entropy)
    assert live.draws[-1].network is draw.network
    raw = tiny.train.take(torch.arange(4)).inputs
    assert torch.equal(live.draws[-1](raw), draw(run.preprocess(raw))), "a view asks with raw inputs"
    assert run.gate.find(Shuffled) is live, "by its plan as well"
    with pytest.raises(LookupError, match=r"No view of class Chunked stands in this gate; its views: Shuffled\(\)"):
        run.gate.find(type("Chunked", (View,), {}))
    with pytest.raises(LookupError, match="its views: none"):
        begun(host, small, tiny).gate.find(Shuffled)


@dataclass(frozen=True)
class Closed(GatePlan):
    @property
    def serves(self):
        return frozenset({"features"})

    def build(self, source, rng):
        raise AssertionError("a refused recipe must not reach the data")


def test_what_a_gate_does_not_serve_is_refused_before_the_data_are_read(host, small, tiny):
    with pytest.raises(RecipeRefused, match=r"synthetic = Pixels\(.*init='real'\) asks examples .* gate 'closed'"):
        begun(host, small, tiny, gate=Closed())
    with pytest.raises(RecipeRefused, match=r"objective = GradientMatch.* asks gradient"):
        host.start(small(host.recipe("dc"), gate=Closed()), tiny)


class Recorded:
    """Answers whatever it is asked, and remembers the last question."""

    source, rng = object(), object()

    def __getattr__(self, name):
        def answer(*arguments, **named):
            self.asked = name, arguments, named
            return self

        return answer


def public(cls):
    return [name for name in dir(cls) if not name.startswith("_")]


@pytest.mark.parametrize("name", public(Gate))
def test_a_wrapped_gate_forwards_all_that_a_gate_has(name):
    inner = Recorded()
    gate = WrappedGate(inner)
    if isinstance(getattr(Gate, name), property):
        inner.__dict__[name] = found = object()
        assert getattr(gate, name) is found
        return
    takes = [p for p in inspect.signature(getattr(Gate, name)).parameters.values() if p.name != "self"]
    values = [object() for _ in takes]
    if name == "with_streams":
        again = gate.with_streams(*values)
        assert (type(again), again.gate, again is gate) == (WrappedGate, inner, False)
    else:
        answer = getattr(gate, name)(*values)
        assert answer is inner or name.startswith("load_")
    assert inner.asked == (name, tuple(values), {})


def test_a_wrapped_gate_changes_what_it_says_and_nothing_else(host, small, tiny):
    class Doubling(WrappedGate):
        def gradient(self, draw, groups, loss):
            return [
                {name: 2 * value for name, value in answer.items()} for answer in super().gradient(draw, groups, loss)
            ]

    class Fitting(Doubling):
        fit = Gate.fit

    run = begun(host, small, tiny)
    draw, group = run.ctx.fresh(), [Group(classes=(1,))]
    fit = Fit(steps=1, batch=60, optimiser=Sgd(momentum=0.0, weight_decay=0.0))
    (plain,), (doubled,) = (gate.gradient(draw, group, cross_entropy) for gate in (run.gate, Doubling(run.gate)))
    assert all(torch.equal(doubled[name], 2 * plain[name]) for name in plain)
    assert torch.equal(*(gate.features(draw, group)[0] for gate in (run.gate, Doubling(run.gate))))
    (one,), (same,), (far,) = (gate.fit(draw, fit) for gate in (run.gate, Doubling(run.gate), Fitting(run.gate)))
    for name, begun_at in draw.params.items():
        assert torch.equal(one[name], same[name])
        assert torch.allclose(far[name] - begun_at, 2 * (one[name] - begun_at), atol=1e-6)
    streams = Streams(5)
    twin = Doubling(run.gate).with_streams(streams)
    assert isinstance(twin, Doubling)
    assert twin.rng is streams


@pytest.mark.parametrize("name", public(Network))
def test_a_wrapped_network_forwards_all_that_a_network_has(name):
    inner = Recorded()
    if isinstance(getattr(Network, name), property):
        inner.__dict__[name] = found = object()
        assert getattr(WrappedNetwork(inner), name) is (found if name != "unwrapped" else inner.unwrapped)
        return
    takes = [p for p in inspect.signature(getattr(Network, name)).parameters.values() if p.name != "self"]
    values = [object() for _ in takes]
    assert getattr(WrappedNetwork(inner), name)(*values) is inner
    assert inner.asked == (name, tuple(values), {})


def test_an_open_gate_rations_nothing(host, small, tiny):
    run = begun(host, small, tiny)
    assert run.gate.spent() is None
    assert Open().for_rounds(7) == Open()
    assert Spent(1.0, 1e-5, 3) == Spent(epsilon=1.0, delta=1e-5, requests=3)


def test_cut_covers_evenly():
    pieces = list(slices(10, 4))
    assert [(p.start, p.stop) for p in pieces] == [(0, 3), (3, 7), (7, 10)]
    assert [(p.start, p.stop) for p in slices(3, 8)] == [(0, 3)]


def test_lots_of_classes_fit_the_room(host, small, tiny):
    from ddcore.objectives.batches import class_batches

    run = begun(host, small, tiny, synthetic=replace(host.recipe("dm").synthetic, ipc=2))
    lots = {}
    for room in (1, 4, 5, 100):
        run.ctx.__dict__["room"] = room
        lots[room] = list(class_batches(run.synthetic, range(3), run.ctx))
    assert lots == {1: [[0], [1], [2]], 4: [[0, 1], [2]], 5: [[0, 1], [2]], 100: [[0, 1, 2]]}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_lots_change_nothing_for_networks_whose_items_do_not_see_each_other(host, small, tiny, norm):
    moved = []
    for room in (1, 100):
        run = begun(host, small, tiny, network=ConvNet(width=4, depth=2, norm=norm))
        if norm == "batch":
            assert run.ctx.room > 10**9
        else:
            run.ctx.__dict__["room"] = room
        run.update()
        moved.append(run.synthetic.everything()[0].detach())
    assert torch.allclose(*moved, atol=1e-6)


def test_targets_of_fewer_classes_than_outputs_leave_nothing_to_the_rest():
    outputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
    shares = torch.rand(5, 2, generator=torch.Generator().manual_seed(1)).double()
    slow = -(shares[:, 0] * outputs.log_softmax(1)[:, 0] + shares[:, 1] * outputs.log_softmax(1)[:, 1])
    assert torch.allclose(cross_entropy(outputs, shares), slow)
    far = outputs.clone()
    far[:, :2] -= shares
    assert torch.allclose(squared(outputs, shares), far.square().sum(1) / 2)
    with pytest.raises(RuntimeError):
        squared(outputs, torch.zeros(5, 6))
