"""Servers: what becomes of sets, against the formulas written slowly in float64."""

from dataclasses import replace

import pytest
import torch
from ddcore_federated import REPLAY, ReplayEach, Shared, TrainOnUnion, around, shard, write_weights
from torch.nn import functional as F

import ddcore
from ddcore import BadArtefact, ConvNet, Protocol, RecipeRefused
from ddcore.plugin import LabelledTensors

NETWORK = ConvNet(width=4, depth=2)
SGD = {
    "optimiser": ddcore.plugin.Sgd(momentum=0.0),
    "schedule": ddcore.plugin.Constant(),
    "augment": None,
    "repeats": 1,
}


def made(n=6, seed=0, **fields):
    inputs = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    items = fields.pop("items", 10)
    return Shared(LabelledTensors(**{"inputs": inputs, "targets": torch.arange(n) % 3, **fields}), items)


@pytest.fixture
def problem(tiny):
    network = NETWORK.build(tiny.card)
    return network, tiny.card, network.init(torch.Generator().manual_seed(5))[0]


def served(server, problem, sets, seed=0):
    network, card, weights = problem
    return server.next_weights(weights, sets, network, card, ddcore.Streams(seed))


def slowly(problem, steps):
    """Plain SGD in float64: ``steps`` are (step size, inputs, a loss of the logits)."""
    network, _, weights = problem
    w = {name: value.double() for name, value in weights.items()}
    for size, inputs, loss in steps:
        w = {name: value.requires_grad_() for name, value in w.items()}
        grads = torch.autograd.grad(loss(network(w, {}, inputs.double())), list(w.values()))
        w = {name: (value - size * g).detach() for (name, value), g in zip(w.items(), grads, strict=True)}
    return w


def same(found, wanted, atol=1e-5):
    return all(torch.allclose(found[name].double(), wanted[name], atol=atol) for name in wanted)


def distance(one, other):
    return float(sum((one[name] - other[name]).double().square().sum() for name in other) ** 0.5)


def test_the_union_trains_the_weights_as_they_are(problem):
    one, two = made(), made(4, seed=1)
    found = served(TrainOnUnion(Protocol(steps=3, batch=10, lr=(0.3,), **SGD)), problem, [one, two])
    x, y = torch.cat([one.inputs, two.inputs]), torch.cat([one.targets, two.targets])
    wanted = slowly(problem, [(0.3, x, lambda z: F.cross_entropy(z, y))] * 3)
    assert distance(found, problem[2]) > 0.05
    assert same(found, wanted)


def test_rows_are_what_they_say(problem):
    rows = torch.rand(6, 3, generator=torch.Generator().manual_seed(3))
    found = served(TrainOnUnion(Protocol(steps=2, batch=6, lr=(0.3,), **SGD)), problem, [made(targets=rows)])

    def loss(z):
        return -(rows.double() * z.log_softmax(1)).sum(1).mean()

    assert same(found, slowly(problem, [(0.3, made().inputs, loss)] * 2))


def test_rows_for_the_squared_error_are_met_by_it(problem):
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    server = TrainOnUnion(Protocol(steps=2, batch=6, lr=(0.1,), **SGD))
    found = served(server, problem, [made(targets=rows, loss="squared")])
    wanted = slowly(problem, [(0.1, made().inputs, lambda z: (z - rows.double()).square().sum(1).mean() / 2)] * 2)
    assert same(found, wanted)


def test_a_step_size_that_sets_bring_is_taken_where_the_training_says_so(problem):
    sets = [made(step_sizes=torch.tensor([0.1])), made(step_sizes=torch.tensor([0.3]))]
    found = served(TrainOnUnion(Protocol(steps=1, batch=12, learned_lr=True, **SGD)), problem, sets)
    wanted = slowly(problem, [(0.2, made().inputs, lambda z: F.cross_entropy(z, made().targets))])
    assert same(found, wanted)


def test_the_weights_stay_in_the_ball(problem):
    """Each step ends on || w - w_r || <= radius: the second starts from the projection of the first."""
    training = Protocol(steps=2, batch=6, lr=(2.0,), **SGD)
    free = served(TrainOnUnion(training), problem, [made()])
    assert distance(free, problem[2]) > 0.2
    found = served(TrainOnUnion(training, radius=0.1), problem, [made()])
    assert distance(found, problem[2]) <= 0.1 + 1e-6
    network, card, centre = problem
    w = centre
    for _ in range(2):
        stepped = slowly((network, card, w), [(2.0, made().inputs, lambda z: F.cross_entropy(z, made().targets))])
        far = distance(stepped, centre)
        assert far > 0.1
        w = {
            name: centre[name].double() + 0.1 / far * (value - centre[name].double()) for name, value in stepped.items()
        }
    assert same(found, w)
    assert same(
        served(TrainOnUnion(training, radius=100.0), problem, [made()]), {n: v.double() for n, v in free.items()}
    )


def test_anew_it_begins_where_the_seed_says(problem):
    server = TrainOnUnion(Protocol(steps=2, repeats=1), fresh=True)
    network, card, weights = problem
    elsewhere = {name: value + 1 for name, value in weights.items()}
    one, two, other = (
        served(server, problem, [made()]),
        served(server, (network, card, elsewhere), [made()]),
        served(server, problem, [made()], seed=1),
    )
    assert distance(one, two) == 0
    assert distance(one, other) > 1


def test_the_same_seed_gives_the_same_weights_and_augments(problem):
    server = TrainOnUnion(Protocol(steps=3, repeats=1))
    one, two, other = (served(server, problem, [made()], seed) for seed in (0, 0, 1))
    assert distance(one, two) == 0
    assert distance(one, other) > 0
    assert distance(one, served(TrainOnUnion(Protocol(steps=3, repeats=1, augment=None)), problem, [made()])) > 0


FIRST = {"order": torch.tensor([[0, 1], [2, 3]]), "step_sizes": torch.tensor([0.3, 0.2])}
SECOND = {"order": torch.tensor([[0, 1, 2]]), "step_sizes": torch.tensor([0.5])}


def steps_of(shared):
    return [
        (float(size), shared.inputs[row], lambda z, y=shared.targets[row]: F.cross_entropy(z, y))
        for row, size in zip(shared.order, shared.step_sizes, strict=True)
    ]


def test_each_set_is_replayed_from_the_weights_and_the_updates_averaged_by_items(problem):
    one, two = made(items=30, **FIRST), made(seed=1, items=10, **SECOND)
    ends = [slowly(problem, steps_of(shared)) for shared in (one, two)]
    weights = {name: value.double() for name, value in problem[2].items()}
    for lr in (1.0, 0.5):
        wanted = {n: w + lr * (0.75 * (ends[0][n] - w) + 0.25 * (ends[1][n] - w)) for n, w in weights.items()}
        found = served(ReplayEach(lr), problem, [one, two])
        assert distance(found, problem[2]) > 0.02
        assert same(found, wanted)


def test_replayed_momentum_is_the_sets(problem):
    one = made(momentum=0.9, **FIRST)
    network, _, weights = problem
    w = {name: value.double() for name, value in weights.items()}
    velocity = dict.fromkeys(w, 0.0)
    for size, inputs, loss in steps_of(one):
        w = {name: value.requires_grad_() for name, value in w.items()}
        grads = torch.autograd.grad(loss(network(w, {}, inputs.double())), list(w.values()))
        velocity = {name: 0.9 * velocity[name] + g for name, g in zip(w, grads, strict=True)}
        w = {name: (value - size * velocity[name]).detach() for name, value in w.items()}
    assert same(served(ReplayEach(), problem, [one]), w)


def test_a_training_that_replays_takes_the_sets_in_turns(problem):
    one, two = made(**FIRST), made(seed=1, **SECOND)
    server = TrainOnUnion(REPLAY)
    (a, b), (c,) = steps_of(one), steps_of(two)
    assert same(served(server, problem, [one, two]), slowly(problem, [a, c, b]))


def test_what_a_client_learned_to_send_is_what_the_server_replays(host, tiny, problem, tmp_path):
    """From the shared weights, a client's set of one gradient leads where its objective says that it does."""
    network, card, weights = problem
    write_weights(tmp_path / "w", weights)
    data, classes = shard(tiny, torch.arange(20, 60))
    said = {"policy.fit.epochs": 2, "policy.fit.lr": 0.1, "policy.fit.batch": 8}
    recipe = around(host.recipe("goetz_tewari", iterations=40, overrides=said), tmp_path / "w", classes, 3)
    recipe = replace(recipe, network=replace(recipe.network, network=NETWORK))
    run = host.start(recipe, data)
    losses = []
    run.on_step = lambda run, record: losses.append(record["loss"])
    run.run_until()
    shared = Shared.of(run.export(), classes, 3)
    found = ReplayEach().next_weights(weights, [shared], network, card, ddcore.Streams(0))
    back = torch.tensor([1, 2, 0]).argsort()
    target = {n: v[back] if n.startswith("head") else v for n, v in run.policy["experts"]["0"][1].items()}
    left = distance(found, target) ** 2 / distance(weights, target) ** 2
    assert losses[0] > left
    assert left == pytest.approx(losses[-1], rel=0.1)


@pytest.mark.parametrize(
    ("server", "sets", "sentence"),
    [
        (TrainOnUnion(), [], "union of none"),
        (ReplayEach(), [], "No set has come"),
        (ReplayEach(), [made()], "brings no steps to replay"),
        (TrainOnUnion(), [made(targets=torch.full((6,), 3))], "not classes from 0 to 2"),
        (ReplayEach(), [made(inputs=torch.zeros(6, 1, 9, 9), **FIRST)], "those of tiny"),
    ],
)
def test_sets_that_cannot_be_used_are_refused(problem, server, sets, sentence):
    with pytest.raises(BadArtefact, match=sentence):
        served(server, problem, sets)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TrainOnUnion(radius=0.0), "radius = 0.0: it must be above 0"),
        (lambda: TrainOnUnion(radius=1.0, fresh=True), "fresh leaves them"),
        (lambda: TrainOnUnion(Protocol()), "repeats must be 1"),
        (lambda: TrainOnUnion(Protocol(lr=(0.1, 0.2), repeats=1)), "at one lr"),
        (lambda: ReplayEach(0.0), "lr = 0.0: it must be above 0"),
    ],
)
def test_servers_that_are_none_are_refused(make, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        make()


def test_sets_that_lead_nowhere_are_left_out(problem, caplog):
    tame = made(**FIRST)
    wild = made(inputs=torch.full((6, 1, 8, 8), 1e30), **{**FIRST, "step_sizes": torch.tensor([1e30, 1e30])})
    alone, beside = (served(ReplayEach(), problem, sets) for sets in ([tame], [wild, tame]))
    assert all(torch.equal(alone[name], beside[name]) for name in alone)
    assert "Set 1 of 2 is left out: Replaying a set led to weights that are not finite" in caplog.text
    with pytest.raises(ddcore.LossDiverged, match="Not one of the sets"):
        served(ReplayEach(), problem, [wild])
