"""Views that live: what they are handed, what they may do under a guard, and what outlives a stop."""

import copy
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from ddcore import (
    Augment,
    Fit,
    Gate,
    GatePlan,
    Group,
    Host,
    LiveView,
    Pixels,
    RealData,
    RecipeRefused,
    View,
    hookimpl,
)
from ddcore.augment.mixing import CutMix
from ddcore.gate.open import Open, OpenGate
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.policies.trained import TrainedOnReal
from ddcore.rng import Streams
from ddcore.types import Batch

PIXELS = Pixels(1, init="noise")


@pytest.fixture
def host():
    return Host({"views": SimpleNamespace(ddcore_parts=hookimpl(lambda: [Pgd, Trigger]))})


@pytest.fixture
def begun(host, small):
    def begin(data, *views, method="dm", **fields):
        run = host.start(small(host.recipe(method), views=views, **fields), data)
        run.start()
        return run

    return begin


@dataclass(frozen=True)
class Pgd(View, name="plain_pgd"):
    """Raw items moved within ``radius``, and within [0, 1], to where the loss of the step's network is larger."""

    radius: float = 8 / 255
    steps: int = 2

    itemwise: ClassVar[bool] = True

    def build(self, store, rng):
        return LivePgd(self, rng["attack"])


class LivePgd(LiveView):
    def __init__(self, plan, generator):
        self.plan, self.generator, self.step = plan, generator, None
        self.losses = []

    def follow(self, draw):
        self.step = draw

    def apply(self, batch, draw):
        draw = self.step or draw
        if draw is None:
            return batch
        radius = self.plan.radius
        start = torch.rand(batch.inputs.shape, generator=self.generator).to(batch.inputs)
        x = (batch.inputs + radius * (2 * start - 1)).clamp(0, 1)
        for _ in range(self.plan.steps):
            x.requires_grad_()
            loss = F.cross_entropy(draw(x, training=False), batch.targets, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x)
            moved = x.detach() + radius * gradient.sign()
            x = torch.minimum(torch.maximum(moved, batch.inputs - radius), batch.inputs + radius).clamp(0, 1)
        self.losses.append(
            [float(cross_entropy(draw(at, training=False), batch.targets).mean()) for at in (batch.inputs, x)]
        )
        return replace(batch, inputs=x)


@dataclass(frozen=True)
class Trigger(View, name="learned_trigger"):
    """A ``share`` of the items bears a stamp that each step's network is taught to read, and the label ``target``."""

    share: float = 0.25
    target: int = 0
    stream: str = "trigger"

    itemwise: ClassVar[bool] = True

    def build(self, store, rng):
        return LiveTrigger(self, store, rng[self.stream])


class LiveTrigger(LiveView):
    def __init__(self, plan, store, generator):
        self.plan, self.places = plan, store.order
        chosen = torch.randperm(len(store), generator=generator)[: round(plan.share * len(store))]
        self.stamped = store.order[chosen].sort().values
        self.stamp = torch.full((1, *store.inputs.shape[1:2], 2, 2), 0.5)

    def relabel(self, targets):
        return targets.masked_fill(torch.isin(self.places, self.stamped), self.plan.target)

    def follow(self, draw):
        stamp = self.stamp.clone().requires_grad_()
        blank = torch.zeros(1, 1, 8, 8)
        logits = draw(self.with_stamp(blank, stamp), training=False)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([self.plan.target])), stamp)
        self.stamp = (self.stamp - 0.05 * gradient.sign()).clamp(0, 1)

    @staticmethod
    def with_stamp(images, stamp):
        return F.pad(stamp, (6, 0, 6, 0)) + images * F.pad(torch.zeros_like(stamp), (6, 0, 6, 0), value=1.0)

    def apply(self, batch, draw):
        hit = torch.isin(batch.index, self.stamped).view(-1, 1, 1, 1)
        return replace(batch, inputs=torch.where(hit, self.with_stamp(batch.inputs, self.stamp), batch.inputs))

    def facts(self):
        return {"poisoned": [{"share": self.plan.share, "target": self.plan.target, "items": len(self.stamped)}]}

    def state_dict(self):
        return {"stamp": self.stamp}

    def load_state_dict(self, state):
        self.stamp = state["stamp"]


# --- what a view is handed -------------------------------------------------------------------------------


def test_an_attack_differentiates_inside_every_disclosure_and_stays_in_range(begun, tiny):
    run = begun(tiny, Pgd())
    live, draw = run.gate.find(Pgd), run.ctx.fresh()
    group = [Group(classes=(1,))]
    run.gate.features(draw, group)
    run.gate.gradient(draw, group, cross_entropy)
    run.gate.fit(draw, Fit(steps=2, batch=8))
    assert len(live.losses) == 4
    assert all(after > before for before, after in live.losses)
    with torch.no_grad():
        batch = run.gate.source.raw(tiny.train.take(torch.arange(60)), draw)
    assert not batch.inputs.requires_grad
    assert 0 <= float(batch.inputs.min()) <= float(batch.inputs.max()) <= 1
    moved = (batch.inputs - tiny.train.take(torch.arange(60)).inputs).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-6


def test_a_view_is_told_the_loss_whose_gradient_is_asked_for(host, small, tiny):
    told = []

    class Watching(LiveView):
        def apply(self, batch, draw):
            told.append(draw and draw.loss)
            return batch

    @dataclass(frozen=True)
    class Watched(View):
        itemwise: ClassVar[bool] = True

        def build(self, store, rng):
            return Watching()

    def loss(outputs, targets):
        return -cross_entropy(outputs, targets)

    for recipe in (host.recipe("dm"), host.recipe("ndpdc", overrides={"plugins.private.epsilon": 50})):
        run = host.start(small(recipe, synthetic=PIXELS, views=(Watched(),)), tiny)
        run.start()
        told.clear()
        run.gate.features(run.ctx.fresh(), [Group()])
        assert set(told) == {None}
        told.clear()
        run.gate.gradient(run.ctx.fresh(), [Group()], loss)
        assert told[-1] is loss


def test_an_attack_knows_the_network_of_the_step_and_leaves_it_as_it_is(begun, tiny):
    run = begun(tiny, Pgd(), network=ConvNet(width=4, depth=2, norm="batch"), method="dc", synthetic=PIXELS)
    for _ in range(2):
        run.update()
    live = run.gate.find(LivePgd)
    assert live.step.params.keys() == run.draw.params.keys()
    assert all(live.step.params[name].data_ptr() == value.data_ptr() for name, value in run.draw.params.items())
    assert not any(value.requires_grad for value in live.step.params.values())
    assert all(live.step.buffers[name].data_ptr() != value.data_ptr() for name, value in run.draw.buffers.items())


def test_views_follow_each_step_and_no_fit(host, small, tiny):
    steps = []

    class Watching(LiveView):
        def follow(self, draw):
            steps.append(draw.age)

    @dataclass(frozen=True)
    class Watch(View):
        def build(self, store, rng):
            return Watching()

    trained = TrainedOnReal(rounds=1)
    recipe = small(host.recipe("dm", iterations=3), views=(Watch(), Watch()), policy=trained)
    host.distill(recipe, tiny)
    assert len(steps) == 6, "three steps, two views; the fits of the policy are not followed"


def test_an_attacked_run_resumes_bit_for_bit(host, small, tiny, distilled_twice):
    distilled_twice(small(host.recipe("dm", iterations=4), views=(Pgd(),)), tiny)


# --- places ----------------------------------------------------------------------------------------------


def stamps(gate, data, classes=3):
    """The places whose items bear a stamp, through the gate; asked twice, once with all classes in one group."""
    found = []
    for groups in ([Group(classes=(c,)) for c in range(classes)], [Group()]):
        batches = gate.examples(groups)
        corner = torch.cat([batch.inputs[:, 0, 7, 7] for batch in batches])
        clean = gate.source.preprocess(data.train.take(torch.arange(len(data.train))).inputs)[:, 0, 7, 7]
        index = torch.cat([batch.index for batch in batches])
        of_place = torch.full((int(data.train.order.max()) + 1,), float("nan"))
        of_place[data.train.order] = clean
        found.append({int(i) for i, value in zip(index, corner, strict=True) if value != of_place[i]})
    assert found[0] == found[1]
    return found[0]


def parts_of(tiny):
    held = tiny.with_validation(0.25, seed=1)
    alone = RealData.alone(tiny.card, tiny.train, (1, 2))
    return {"whole": tiny, "validation": held, "subset": tiny.subset(torch.arange(0, 60, 3)), "alone": alone}


@pytest.mark.parametrize("which", ["whole", "validation", "subset", "alone"])
def test_places_are_the_sources_whatever_other_views_relabel(begun, tiny, which):
    """Two triggers that relabel to different classes: the stamps stand on the items that each has chosen, no others."""
    data = parts_of(tiny)[which]
    views = (Trigger(0.2, 0, "a"), Trigger(0.2, data.card.classes - 1, "b"))
    run = begun(data, *views, method="dc")
    chosen = [set(live.stamped.tolist()) for live in run.gate.source.views]
    assert all(one <= set(data.train.order.tolist()) for one in chosen)
    assert stamps(run.gate, data, data.card.classes) == chosen[0] | chosen[1]
    (everything,) = run.gate.examples([Group()])
    label = dict(zip(everything.index.tolist(), everything.targets.tolist(), strict=True))
    assert {label[i] for i in chosen[1]} == {data.card.classes - 1}
    assert {label[i] for i in chosen[0] - chosen[1]} == {0}
    clean = dict(zip(data.train.order.tolist(), data.train.targets.tolist(), strict=True))
    assert all(label[i] == clean[i] for i in label.keys() - chosen[0] - chosen[1])


# --- state and facts -------------------------------------------------------------------------------------


def test_a_trigger_that_is_learned_outlives_a_stop_bit_for_bit(host, small, tiny, distilled_twice):
    recipe = small(host.recipe("dm", iterations=4), views=(Trigger(),))
    found = distilled_twice(recipe, tiny)
    assert found.facts["poisoned"] == [{"share": 0.25, "target": 0, "items": 15}]
    run = host.start(recipe, tiny)
    run.run_until(until=2)
    state = copy.deepcopy(run.state_dict())
    stamp = run.gate.find(Trigger).stamp
    assert not torch.equal(stamp, torch.full((1, 1, 2, 2), 0.5))
    again = host.start(recipe, tiny)
    again.load_state_dict(state)
    assert torch.equal(again.gate.find(Trigger).stamp, stamp)
    assert "poisoned" not in host.distill(replace(recipe, views=()), tiny).facts


@dataclass(frozen=True)
class Boast(View):
    facts: str = "{}"

    def build(self, store, rng):
        stated = json.loads(self.facts)

        class Boasting(LiveView):
            def facts(self):
                return stated

        return Boasting()


@pytest.mark.parametrize(
    "stated",
    [[{"steps": 10**6}], [{"seed": 3}], [{"seconds": 0}], [{"fingerprint": "a"}], [{"side": 1}, {"side": 2}]],
)
def test_no_fact_is_stated_twice(host, small, tiny, stated):
    views = tuple(Boast(json.dumps(one)) for one in stated)
    with pytest.raises(RecipeRefused, match=rf"The fact '{next(iter(stated[-1]))}' would stand twice on the card"):
        host.distill(small(host.recipe("dm", iterations=1), views=views), tiny)


def test_facts_of_several_views_stand_together(host, small, tiny):
    stated = [{"boast": True, "warnings": ["a"], "stamps": [{"n": 1}]}, {"warnings": ["b"], "stamps": [{"n": 2}]}]
    views = tuple(Boast(json.dumps(one)) for one in stated)
    facts = host.distill(small(host.recipe("dm", iterations=1), views=views), tiny).facts
    assert (facts["steps"], facts["seed"], facts["boast"], facts["warnings"]) == (1, 0, True, ["a", "b"])
    assert facts["stamps"] == [{"n": 1}, {"n": 2}]


# --- under a guard ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guarding(GatePlan):
    """Answers what the open gate does, and claims to bound it."""

    guards: ClassVar[bool] = True

    @property
    def serves(self):
        return frozenset({"gradient", "features", "fit", "examples", "statistics"})

    def build(self, source, rng) -> Gate:
        return OpenGate(source, rng, 2**30)


def viewed(apply, itemwise=True, build=None):
    """A view that does ``apply(batch, generator)``."""

    class Live(LiveView):
        def __init__(self, generator):
            self.generator, self.seen = generator, torch.zeros(())

        def apply(self, batch, draw):
            return apply(self, batch)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    @dataclass(frozen=True)
    class Changed(View):
        def build(self, store, rng):
            if build:
                build(store)
            return Live(rng["changed"])

    Changed.itemwise = itemwise
    return Changed()


def changed(change):
    return lambda live, batch: replace(batch, inputs=change(batch.inputs))


def learning(live, batch):
    live.seen = live.seen + batch.inputs.mean()
    return batch


def noised(live, batch):
    noise = torch.randn(batch.inputs.shape, generator=live.generator)
    return replace(batch, inputs=batch.inputs + 0.1 * noise)


def first_quarter(live, batch):
    x = batch.inputs.clone()
    x[: max(1, len(x) // 4), :, 0, 0] = 1
    return replace(batch, inputs=x)


def mixed_labels(live, batch):
    return replace(batch, targets=batch.targets.roll(1))


def noised_mean(live, batch):
    return noised(live, replace(batch, inputs=batch.inputs - batch.inputs.mean(0)))


MIXING = {
    "mean": changed(lambda x: (x + x.mean(0)) / 2),
    "a corner of the mean": changed(lambda x: torch.cat([x[:, :, :7], (x[:, :, 7:] + x.mean(0)[:, 7:]) / 2], 2)),
    "the neighbour": changed(lambda x: x.roll(1, 0)),
    "the size": changed(lambda x: x / len(x)),
    "the place": first_quarter,
    "labels": mixed_labels,
    "fewer": lambda live, batch: Batch(batch.inputs[1:], batch.targets[1:], batch.index[1:]),
    "mean and noise": noised_mean,
    "cutmix": lambda live, batch: replace(
        batch, inputs=CutMix.draw(live.generator, (1, 8, 8), 3)(batch.inputs, batch.targets)[0]
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_view_that_says_it_is_itemwise_and_is_not_is_found_out(begun, tiny, name):
    run = begun(tiny, viewed(MIXING[name]), gate=Guarding(), synthetic=PIXELS)
    with pytest.raises(RecipeRefused, match="view changed declares that it is itemwise, but"):
        run.gate.features(run.ctx.fresh(), [Group(classes=(c,)) for c in range(3)])


@pytest.mark.parametrize(
    "view",
    [viewed(changed(lambda x: 1 - x)), viewed(noised), Pgd(), Trigger(), viewed(lambda live, batch: batch)],
    ids=["inverted", "noised", "attack", "trigger", "unchanged"],
)
def test_a_view_that_is_itemwise_passes_and_the_check_leaves_no_trace(begun, tiny, view):
    """The same answers as where nothing is checked: no stream, no state and no network has moved."""
    answers = []
    for gate in (Guarding(), Open(max_bytes=2**30)):
        run = begun(tiny, view, gate=gate, synthetic=PIXELS)
        run.update()
        draw, groups = run.ctx.fresh(), [Group(classes=(c,), size=7) for c in range(3)]
        answers.append(
            [*run.gate.features(draw, groups), *run.gate.features(draw, groups), run.synthetic.everything()[0]]
        )
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))


def test_a_view_that_learns_of_the_items_is_found_out(begun, tiny):
    run = begun(tiny, viewed(learning), gate=Guarding(), synthetic=PIXELS)
    with pytest.raises(RecipeRefused, match="changes its state when it is applied"):
        run.gate.features(run.ctx.fresh(), [Group(classes=(0,))])
    begun(tiny, viewed(learning)).update()


def test_under_a_guard_what_does_not_declare_itself_is_refused_before_the_run(host, small, tiny):
    @dataclass(frozen=True)
    class Plain(Augment):
        def draw(self, generator, shape, n=None):
            return lambda x: x

    own = {"synthetic": PIXELS, "gate": Guarding()}
    recipe = small(host.recipe("dm"), augment=None)
    refused = [
        ({"views": (viewed(changed(lambda x: x), itemwise=View.itemwise),)}, r"views = .*Changed\(\) mixes items of T"),
        ({"augment": Plain()}, r"augment = .*Plain\(\) mixes items of T, or does not declare .* gate 'guarding'"),
        ({"policy": TrainedOnReal(fit=Fit(cutmix=0.5))}, "policy = .* mixes items"),
        ({"policy": TrainedOnReal(fit=Fit(augment=Plain()))}, "policy = .* mixes items"),
    ]
    for fields, sentence in refused:
        with pytest.raises(RecipeRefused, match=sentence):
            host.start(replace(recipe, **own, **fields), tiny)
        host.start(replace(recipe, **{**own, "gate": Open()}, **fields), tiny)


def test_an_augmentation_that_says_it_is_itemwise_and_is_not_is_found_out(begun, tiny):
    run = begun(tiny, gate=Guarding(), synthetic=PIXELS)
    draw = run.ctx.fresh()
    run.gate.features(draw, [Group(classes=(0,), transform=run.ctx.transform())])
    with pytest.raises(RecipeRefused, match="mixes items, though its plan declares that it is itemwise"):
        run.gate.features(draw, [Group(classes=(0,), transform=lambda x: x - x.mean(0))])
    with pytest.raises(RecipeRefused, match="A request mixes items of T"):
        run.gate.features(draw, [Group(classes=(0,), mixing=lambda x, y: (x, y))])


READING = {
    "inputs": lambda store: store.inputs[torch.tensor([0])],
    "take": lambda store: store.take(torch.tensor([0])),
    "chunks": lambda store: list(store.chunks()),
    "fingerprint": lambda store: store.fingerprint(),
    "subset": lambda store: store.subset(torch.tensor([0, 1])),
}


@pytest.mark.parametrize("name", READING)
def test_under_a_guard_a_view_is_built_without_the_items(host, small, tiny, name):
    view = viewed(changed(lambda x: x), build=READING[name])
    recipe = small(host.recipe("dm"), views=(view,), synthetic=PIXELS)
    host.start(recipe, tiny)
    with pytest.raises(RecipeRefused, match="A view tries to read items of T while it is built"):
        host.start(replace(recipe, gate=Guarding()), tiny)


def test_under_a_guard_a_view_is_built_with_what_is_public(tiny):
    met = {}

    def look(store):
        met.update(
            shape=store.inputs.shape, counts=store.counts, targets=store.targets, order=store.order, n=len(store)
        )

    Guarding().live(tiny.train, (viewed(changed(lambda x: x), build=look),), Streams(0), torch.device("cpu"))
    assert met["shape"] == (60, 1, 8, 8)
    assert (met["counts"], met["n"]) == ((20, 20, 20), 60)
    assert torch.equal(met["targets"], tiny.train.targets)
    assert torch.equal(met["order"], tiny.train.order)
