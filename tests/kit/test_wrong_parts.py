"""Each check can fail: a wrong part for each rule, and the sentence that says what to do."""

import random
import re
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from ddcore import Host, testing
from ddcore import plugin as dd
from ddcore.testing import Untried

HOST = Host()


def told(check, *arguments, **fields):
    return "\n".join(check.faults(*arguments, host=HOST, **fields))


def method(function):
    return dd.method(dd.Citation("k", "A", "T", "V", 2024))(function)


# --- parts of any kind


@dataclass(frozen=True)
class Careless(dd.Policy):
    pace: int = 1

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


def test_what_breaks_the_contract_of_parts():
    assert testing.check_part.faults(Careless()) == [
        "Careless has no docstring: say in a sentence what it is, which `ddcore list parts` shows.",
        "Careless.pace has no docstring below it: say what it means, with its unit.",
        "Careless.pace is a number without bounds: annotate it as dd.Count, dd.Positive, dd.Share or another of"
        " ddcore.bounds, or as ClassVar where it is no setting.",
    ]
    with pytest.raises(AssertionError, match="Careless.pace has no docstring"):
        testing.check_part(Careless())


# --- objectives


class Matching(dd.LossObjective):
    """DM's loss, wrong in some way."""

    asked = frozenset({"features"})

    @property
    def asks(self):
        return self.asked

    def loss(self, draw, synthetic, ctx):
        groups = [dd.Group(classes=(c,), size=4) for c in range(ctx.card.classes)]
        real = ctx.gate.features(draw, groups)
        inputs = [synthetic.take(synthetic.pick([c]))[0] for c in range(ctx.card.classes)]
        ours = [draw(x, features=True).mean(0) for x in inputs]
        return sum((r - o).square().sum() for r, o in zip(real, ours, strict=True))


class Undeclared(Matching):
    """It does not say what it asks."""

    asked = frozenset()


class Flat(Matching):
    """Its loss does not depend on S."""

    def loss(self, draw, synthetic, ctx):
        return (super().loss(draw, synthetic, ctx).detach() * torch.ones((), requires_grad=True)).sum()


class Global(Matching):
    """It draws from everybody's generator."""

    def loss(self, draw, synthetic, ctx):
        return super().loss(draw, synthetic, ctx) * (1 + torch.rand(()))


class Trampling(Matching):
    """It trains the network that it is given."""

    def loss(self, draw, synthetic, ctx):
        for value in draw.params.values():
            value.data.mul_(0.5)
        return super().loss(draw, synthetic, ctx)


class Forgetful(Matching):
    """What it counts is lost in a stop."""

    calls: ClassVar = [0]

    def loss(self, draw, synthetic, ctx):
        self.calls[0] += 1
        return super().loss(draw, synthetic, ctx) * self.calls[0]


class Endless(Matching):
    """Its loss is infinite."""

    def loss(self, draw, synthetic, ctx):
        return super().loss(draw, synthetic, ctx) * torch.inf


class Silent(Matching):
    """It yields nothing."""

    def accumulate(self, draw, synthetic, ctx):
        return iter(())


class Stumbling(Matching):
    """It has a mistake."""

    def loss(self, draw, synthetic, ctx):
        return synthetic.takes()


class Needy(Matching):
    """It needs what nobody gives."""

    @property
    def needs(self):
        return frozenset({"moon"})


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (Undeclared, r'undeclared asks features of the gate and does not say so: return frozenset\(\{"features"\}\)'),
        (Flat, r"leaves no gradient in S: call backward\(\)"),
        (Global, r'draws from torch\'s global generator: give it generator=ctx.rng\["global"\]'),
        (Trampling, r"trampling changes the parameters of the network it is given"),
        (Forgetful, r"forgetful goes on otherwise after a stop: keep all"),
        (Endless, r"The loss of dm is inf"),
        (Silent, r"yields no loss: accumulate yields once"),
        (Stumbling, r"AttributeError at .*test_wrong_parts.py:\d+: .*takes"),
    ],
)
def test_a_wrong_objective(part, sentence):
    assert re.search(sentence, told(testing.check_objective, part()))


def test_a_part_that_no_small_run_can_be_made_of():
    with pytest.raises(Untried, match=r"could be run with needy in it: give the check recipe=.*moon"):
        testing.check_objective(Needy(), host=HOST)


def test_a_right_objective():
    assert told(testing.check_objective, Matching()) == ""


# --- carriers


class Rows(dd.CarrierModule):
    def __init__(self, plan, card):
        super().__init__()
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(plan.ipc))
        self.rows = nn.Parameter(torch.zeros(len(self.classes), *card.shape))

    def start(self, ctx):
        with torch.no_grad():
            self.rows.copy_(torch.randn(self.rows.shape, generator=ctx.rng["rows"]))

    def forward(self, index):
        return self.rows[index]

    def nbytes(self):
        return self.rows.nbytes


class Nameless(Rows):
    def __init__(self, plan, card):
        super().__init__(plan, card)
        del self.classes


class Squeezed(Rows):
    def forward(self, index):
        return self.rows[index][..., :-1]


class Shuffled(Rows):
    def forward(self, index):
        return self.rows[index.flip(0)]


class Cheap(Rows):
    def nbytes(self):
        return 8


class Few(Rows):
    def __init__(self, plan, card):
        super().__init__(plan, card)
        self.classes = torch.zeros_like(self.classes)


class Peeking(Rows):
    def start(self, ctx):
        super().start(ctx)
        ctx.gate.examples([dd.Group(size=1)])


class Restless(Rows):
    """What it remembers stands in no checkpoint."""

    told = 0

    def follow(self, draw, rng):
        Restless.told += 1

    def forward(self, index):
        return self.rows[index] * (1 + 0.01 * Restless.told)


@dataclass(frozen=True)
class Store(dd.Carrier):
    """Rows of some class."""

    def build(self, card):
        return MODULE[0](self, card)


MODULE = [Rows]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Rows, r"^$"),
        (Squeezed, r"store: its inputs are \(6, 1, 16, 15\): answer \(6, 1, 16, 16\)"),
        (Shuffled, r"store: the inputs at some rows are others than those of the whole"),
        (Cheap, r"store counts 8 bytes and stores 1536 or 6144: let nbytes\(\) add up"),
        (Few, r"store: class 1 has no item, and per_class\(card\) says 2"),
        (Peeking, r"store asks examples of the gate and does not say so"),
        (Restless, r"store goes on otherwise after a stop"),
    ],
)
def test_a_wrong_carrier(module, sentence, monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [module])
    assert re.search(sentence, told(testing.check_carrier, Store(ipc=2)))


def test_a_carrier_without_classes(monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [Nameless])
    with pytest.raises(Untried, match="Nameless has no classes: let its __init__ register a buffer `classes`"):
        testing.check_carrier(Store(ipc=2), host=HOST)


# --- views


class Live(dd.LiveView):
    def __init__(self, rng):
        self.rng = rng


class InPlace(Live):
    def apply(self, batch, draw):
        batch.inputs.mul_(0.5)
        return batch


class Dropping(Live):
    def apply(self, batch, draw):
        return dd.Batch(batch.inputs[1:], batch.targets[1:], batch.index[1:])


class Mixing(Live):
    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs - batch.inputs.mean(0))


class Relabelling(Live):
    def relabel(self, targets):
        return targets + 3


class Tensors(Live):
    def facts(self):
        return {"noise": torch.zeros(3)}


class Loud(Live):
    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs + torch.randn(batch.inputs.shape))


class Counting(Live):
    count = 0

    def follow(self, draw):
        self.count += 1

    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs * (1 + self.count / 10))


@dataclass(frozen=True)
class Changed(dd.View):
    """A change of some class."""

    itemwise = True

    def build(self, store, rng):
        return MODULE[0](rng)


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        (Live, r"^$"),
        (InPlace, r"changed changes the batch it is handed in place: work on a copy"),
        (Dropping, r"changed makes \(11, 1, 16, 16\) of \(12, 1, 16, 16\)"),
        (Mixing, r"The view changed declares that it is itemwise, but what it makes of an item depends on the others"),
        (Relabelling, r"changed answers no targets of the data"),
        (Tensors, r"changed states facts that JSON cannot hold"),
        (Loud, r"changed draws from torch's global generator"),
        (Counting, r"changed goes on otherwise after a stop"),
    ],
)
def test_a_wrong_view(live, sentence, monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [live])
    assert re.search(sentence, told(testing.check_view, Changed()))


# --- gates


class Clipping(dd.WrappedGate):
    """Clips features, adds secret noise, and keeps an account."""

    clip, counted, kept, overlapping = 1.0, True, True, False

    def __init__(self, gate):
        super().__init__(gate)
        self.requests = 0

    def features(self, draw, groups):
        if not self.overlapping:
            dd.disjoint(groups)
        self.requests += self.counted
        found = []
        for group in groups:
            (batch,) = self.gate.examples([group])
            each = draw(batch.inputs, features=True).detach()
            each = each * (self.clip / each.norm(dim=1, keepdim=True).clamp_min(self.clip))
            noise = torch.randn(each.shape[1:], generator=self.rng.secret("clipping"))
            found.append(each.mean(0) + 0.1 * noise)
        return found

    def spent(self):
        return dd.Spent(float(self.requests), 0.0, self.requests)

    def state_dict(self):
        return {"requests": self.requests} if self.kept else {}

    def load_state_dict(self, state):
        self.requests = state.get("requests", 0)

    def ledger(self):
        return {"requests": self.requests}

    def load_ledger(self, before):
        self.requests = before["requests"]


class Open(Clipping):
    clip = float("inf")


class Uncounted(Clipping):
    counted = False


class Lost(Clipping):
    kept = False


class Accountless(Clipping):
    def spent(self):
        return None


class Lenient(Clipping):
    overlapping = True


class Attached(Clipping):
    def features(self, draw, groups):
        return [f.requires_grad_() for f in super().features(draw, groups)]


class Guessable(Clipping):
    def features(self, draw, groups):
        return [f + random.random() for f in super().features(draw, groups)]


@dataclass(frozen=True)
class Guarding(dd.GatePlan):
    """A guard of some class, which serves features."""

    guards = True

    @property
    def serves(self):
        return frozenset({"features"})

    def build(self, source, rng):
        return MODULE[0](dd.Open().build(source, rng))


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        (Clipping, r"^$"),
        (Open, r"guarding lets one item far out move its features by .*: clip what each item says"),
        (Uncounted, r"guarding tells features and does not count it"),
        (Lost, r"guarding forgets what was spent: state_dict and ledger"),
        (Accountless, r"guarding guards and keeps no account"),
        (Lenient, r"guarding answers features of groups that overlap: begin with dd.disjoint"),
        (Attached, r"guarding: what it tells of features can be differentiated"),
        (
            Guessable,
            r'guarding answers otherwise after a stop: draw all noise and samples from rng.secret\("guarding"\)',
        ),
    ],
)
def test_a_wrong_gate(gate, sentence, monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [gate])
    assert re.search(sentence, told(testing.check_gate, Guarding()))


@dataclass(frozen=True)
class Halving(dd.GatePlan):
    """The open gate, whose features are half as large."""

    @property
    def serves(self):
        return frozenset({"features", "secrets"})

    def build(self, source, rng):
        return HalvingGate(dd.Open().build(source, rng))


class HalvingGate(dd.WrappedGate):
    def features(self, draw, groups):
        return [f / 2 for f in super().features(draw, groups)]


def test_a_gate_that_is_not_the_identity_it_claims_to_be():
    said = told(testing.check_gate, Halving(), identity=Halving())
    assert re.search(r"with settings that change nothing, .*, its features are not those of the open gate", said)
    assert "serves secrets, which nobody asks" in said


# --- policies


class Drawing(dd.Policy):
    """A fresh network, wrong in some way."""

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


class Meddling(Drawing):
    """It moves S."""

    def draw(self, state, synthetic, ctx):
        with torch.no_grad():
            next(synthetic.carrier.parameters()).add_(1)
        return ctx.fresh()


class Remembering(Drawing):
    """It remembers an object."""

    def draw(self, state, synthetic, ctx):
        state["last"] = object()
        return ctx.fresh()


class Elsewhere(Drawing):
    """It remembers what its memory does not say."""

    memory = dict[str, int]

    def draw(self, state, synthetic, ctx):
        state["seen"] = "much"
        return ctx.fresh()


class Foreign(Drawing):
    """Parameters of another network."""

    def draw(self, state, synthetic, ctx):
        return replace(ctx.fresh(), params={})


class Training(Drawing):
    """It fits to T and does not say so."""

    def draw(self, state, synthetic, ctx):
        fresh = ctx.fresh()
        (params,) = ctx.gate.fit(fresh, dd.Fit(epochs=None, steps=1))
        return replace(fresh, params=params)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Drawing, r"^$"),
        (Meddling, r"meddling changes S as it draws"),
        (Remembering, r"remembering remembers what no checkpoint holds"),
        (Elsewhere, r"elsewhere remembers other things than its memory says"),
        (Foreign, r"foreign draws parameters that are none of the network's"),
        (Training, r"training asks fit of the gate and does not say so"),
    ],
)
def test_a_wrong_policy(policy, sentence):
    assert re.search(sentence, told(testing.check_policy, policy()))


# --- networks


class Layers(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.norm, self.head = nn.Linear(inputs, 8), nn.Identity(), nn.Linear(8, outputs)

    def features(self, x):
        return self.norm(self.hidden(x.flatten(1))).relu()

    def forward(self, x):
        return self.head(self.features(x))


class Normed(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.norm = nn.BatchNorm1d(8)


class Beside(Layers):
    def features(self, x):
        return self.hidden(x.flatten(1))


class BesideItself(Beside):
    def forward(self, x):
        return self.head(self.features(x).relu())


class Constant(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Boasting(dd.ModuleNetwork):
    """One that says per_sample by itself."""


@dataclass(frozen=True)
class Built(dd.NetworkPlan):
    """A network of some class."""

    def build(self, card):
        network, module = MODULE
        return network(lambda: module(torch.Size(card.shape).numel(), card.outputs))


@pytest.mark.parametrize(
    ("network", "module", "sentence"),
    [
        (dd.ModuleNetwork, Layers, r"^$"),
        (dd.ModuleNetwork, Normed, r"^$"),
        (Boasting, Normed, r"built says per_sample and lets items of a batch see each other"),
        (dd.ModuleNetwork, BesideItself, r"built: its logits are not a last layer on its features"),
        (dd.ModuleNetwork, Constant, r"built starts the same under every seed"),
    ],
)
def test_a_wrong_network(network, module, sentence, monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [network, module])
    assert re.search(sentence, told(testing.check_network, Built()))


# --- measures


class Sure(dd.Measure):
    """The mean largest softmax output, wrong in some way."""

    def __call__(self, draw, data, chunk):
        total = sum(self.of_chunk(logits.softmax(2).amax(2)) for logits, _ in dd.predictions(draw, data, chunk))
        return total / len(data)

    def of_chunk(self, values):
        return values.sum(1)


class OneForAll(Sure):
    """One number for all nets."""

    def of_chunk(self, values):
        return values.sum()


class ByChunk(Sure):
    """A sum of the means of chunks."""

    def of_chunk(self, values):
        return values.mean(1)


class Relative(Sure):
    """It compares nets."""

    def __call__(self, draw, data, chunk):
        values = super().__call__(draw, data, chunk)
        return values - values.mean()


class Undefined(Sure):
    """It divides by zero."""

    def __call__(self, draw, data, chunk):
        return super().__call__(draw, data, chunk) / 0


class Chancy(Sure):
    """It draws from everybody's generator."""

    def __call__(self, draw, data, chunk):
        return super().__call__(draw, data, chunk) + torch.rand(())


class Tuning(Sure):
    """It changes the nets."""

    def __call__(self, draw, data, chunk):
        for value in draw.params.values():
            value.mul_(1.5)
        return super().__call__(draw, data, chunk)


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (Sure, r"^$"),
        (OneForAll, r"one_for_all answers \(\) for 3 nets: answer one number per net"),
        (ByChunk, r"by_chunk depends on the chunk"),
        (Relative, r"relative of a net depends on the nets beside it"),
        (Undefined, r"undefined is \[inf, inf, inf\] of new networks"),
        (Chancy, r"chancy draws from torch's global generator"),
        (Tuning, r"tuning changes the nets that it measures"),
    ],
)
def test_a_wrong_measure(measure, sentence):
    assert re.search(sentence, told(testing.check_measure, measure()))


# --- data, protocols, methods, studies


class Points(dd.DataSet):
    """Vectors, wrong in some way."""

    def item_kind(self):
        return "vector"

    def points(self, generator):
        return torch.randn(30, 4, generator=generator)

    def load(self):
        points, targets = self.points(torch.Generator().manual_seed(0)), torch.arange(30) % 3
        return dd.RealData.of("points", (points, targets), None)


class Mislabelled(Points):
    """It says another kind."""

    def item_kind(self):
        return "image"


class Moody(Points):
    """It is other data each time."""

    def points(self, generator):
        return torch.randn(30, 4)


class SameTest(Points):
    """It tests on what it trains on."""

    def load(self):
        split = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
        return dd.RealData.of("points", split, split)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Points, r"^$"),
        (Mislabelled, r"mislabelled loads items of the kind vector and says 'image' before"),
        (Moody, r"moody is other data when it is loaded again"),
        (SameTest, r"same_test tests on what it trains on"),
    ],
)
def test_a_wrong_data_set(data, sentence):
    assert re.search(sentence, told(testing.check_data_set, data()))


def test_a_wrong_protocol():
    def bare():
        return dd.Protocol(networks=(dd.MLP(),))

    said = told(testing.check_protocol, bare)
    assert "bare has no docstring" in said
    assert "bare is not marked: put @dd.preset(...) above it" in said


def test_a_wrong_method():
    @dd.method()
    def nobody(iterations=3):
        return replace(dd.recipe("dm", iterations=iterations), name="somebody")

    said = told(testing.check_recipe, nobody)
    for sentence in (
        "nobody has no docstring",
        "nobody cites no paper: put @dd.method(dd.Citation(...)) above it.",
        "nobody takes no ipc",
        "nobody makes a recipe that is called somebody",
    ):
        assert sentence in said

    @method
    def fixed(ipc=1):
        """It begins where it ends, whatever the seed."""
        return replace(dd.recipe("dm", ipc=ipc, iterations=3), name="fixed", synthetic=Same(ipc))

    assert "fixed makes the same S whatever the seed: draw from ctx.rng." in told(testing.check_recipe, fixed)


@dataclass(frozen=True)
class Same(dd.Carrier):
    """It never moves."""

    def build(self, card):
        return Still(self, card)


class Still(Rows):
    def start(self, ctx):
        pass

    def forward(self, index):
        return self.rows[index] * 0

    def groups(self):
        return {"inputs": [self.rows]}


@dataclass(frozen=True)
class Counts(dd.Study):
    """Numbers, wrong in some way."""

    several = ("sizes",)

    sizes: tuple[dd.Count, ...] = (1, 2)
    """Sizes."""

    def cases(self, host):
        return [dd.Case(f"size {n}", None, {"n": n}) for n in self.sizes]

    def run(self, case, folder, host, device, progress):
        return {"n": case.description["n"]}

    def summarise(self, found):
        return dd.Finding(["n"], [[str(one.numbers["n"])] for one in found])


@dataclass(frozen=True)
class Caseless(Counts):
    """Without cases."""

    def cases(self, host):
        return []


@dataclass(frozen=True)
class Ragged(Counts):
    """Its table has holes."""

    chooses = frozenset({"seeds"})

    def summarise(self, found):
        return dd.Finding(["n", "m"], [["1"]], {"set": {1}})


@dataclass(frozen=True)
class Drifting(Counts):
    """Its cases are others each time."""

    seen: ClassVar = [0]

    def cases(self, host):
        self.seen[0] += 1
        return [dd.Case(f"size {self.seen[0]}", None, {"n": self.seen[0]})]


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        (Counts, r"^$"),
        (Caseless, r"caseless has no cases"),
        (Ragged, r"names seeds in chooses or several, which is no field of it"),
        (Drifting, r"drifting: its cases are others the second time"),
    ],
)
def test_a_wrong_study(study, sentence):
    assert re.search(sentence, told(testing.check_study, study()))


# --- hooks


class Noisy:
    @dd.hookimpl(wrapper=True)
    def ddcore_step(self, run):
        torch.rand((), generator=run.rng["nets"])
        return (yield)


def test_a_plugin_that_changes_what_it_was_not_asked_for():
    testing.assert_same_as_plain("example", host=HOST)
    with pytest.raises(AssertionError, match=r"With \[plugins.noisy\] .* the inputs of a small run are not those"):
        testing.assert_same_as_plain("noisy", host=Host({"noisy": Noisy()}))


def test_the_recorder_says_who_was_called():
    recorder = testing.HookRecorder()
    host = Host({"recorder": recorder})
    testing.tiny_run(host=host, iterations=3, overrides={"plugins.recorder": {}})
    recorder.assert_called("ddcore_step", times=3)
    recorder.assert_called("ddcore_distill")
    with pytest.raises(AssertionError, match=r"ddcore_step was called 3 times, not 2 times\. All calls: "):
        recorder.assert_called("ddcore_step", times=2)
