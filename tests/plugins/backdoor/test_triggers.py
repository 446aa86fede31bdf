"""Triggers: what they do to an image, and what is written of them."""

import pytest
import torch
from ddcore_backdoor import Blended, Doorping, Invisible, Patch, Poison, Relaxed, Warped
from torch.nn import functional as F

from ddcore import RecipeRefused
from ddcore import plugin as dd

TRIGGERS = [
    Patch(),
    Patch(width=3, margin=0, opacity=0.5, fill="noise"),
    Blended(),
    Invisible(),
    Warped(),
]


def images(n=5, shape=(3, 12, 10), seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_an_image_stays_an_image_and_each_is_stamped_by_itself(trigger):
    x = images()
    stamped = trigger(x)
    assert stamped.shape == x.shape
    assert 0 <= float(stamped.min()) <= float(stamped.max()) <= 1
    assert not torch.equal(stamped, x)
    assert torch.equal(torch.cat([trigger(one[None]) for one in x]), stamped)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_with_its_pattern_it_is_the_same_again(trigger, host):
    x = images()
    held = trigger.holding(trigger.start((3, 12, 10)))
    again = dd.from_dict(type(trigger), dd.to_dict(held), host.catalogue)
    assert again == held
    assert torch.equal(again(x), trigger(x))
    low, high = trigger.limits
    pattern = torch.tensor(held.pattern)
    assert low - 1e-6 <= float(pattern.min()) <= float(pattern.max()) <= high + 1e-6


@pytest.mark.parametrize("trigger", [Patch(fill="noise"), Blended(), Invisible(), Warped()], ids=str)
def test_what_is_drawn_comes_from_its_seed_alone(trigger):
    other = type(trigger)(**{**{f: getattr(trigger, f) for f in ("pattern",)}, "seed": 1})
    torch.manual_seed(5)
    first = trigger.start((3, 12, 10))
    torch.manual_seed(6)
    assert torch.equal(trigger.start((3, 12, 10)), first)
    assert not torch.equal(other.start((3, 12, 10)), first)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_a_pattern_can_be_learned(trigger):
    x = 0.2 + 0.6 * images()
    pattern = trigger.start((3, 12, 10)).mul(0.5).requires_grad_()
    (gradient,) = torch.autograd.grad((trigger.stamp(x, pattern) * images(seed=1)).sum(), pattern)
    assert gradient.shape == trigger.size((3, 12, 10))
    assert (gradient != 0).any()


def test_a_patch_pixel_by_pixel():
    trigger, x = Patch(width=3, margin=2, opacity=0.25, fill="noise"), images()
    pattern = trigger.start((3, 12, 10))
    expected = x.clone()
    for row in range(3):
        for column in range(3):
            place = expected[:, :, 12 - 2 - 3 + row, 10 - 2 - 3 + column]
            place.mul_(0.75).add_(0.25 * pattern[:, row, column])
    assert torch.allclose(trigger(x), expected)


def test_blended_and_invisible_pixel_by_pixel():
    x = images()
    blended, invisible = Blended(opacity=0.3), Invisible(radius=0.1)
    assert torch.allclose(blended(x), 0.7 * x + 0.3 * blended.start((3, 12, 10)))
    assert torch.allclose(invisible(x), (x + invisible.start((3, 12, 10))).clamp(0, 1))
    assert float((invisible(x) - x).abs().max()) <= 0.1 + 1e-6


def test_a_warp_reads_each_pixel_from_where_its_arrow_points():
    """One arrow for all: a shift, by as many pixels as ``strength`` says, across and along."""
    x = images(1, (1, 8, 8))
    shift = Warped(grid=1, strength=1.0).holding(torch.ones(2, 1, 1))
    moved = shift(x)
    assert torch.allclose(moved[..., :-1, :-1], x[..., 1:, 1:], atol=1e-5)
    still = Warped(grid=3).holding(torch.zeros(2, 3, 3))
    assert torch.allclose(still(x), x, atol=1e-6)


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (Patch(width=8, margin=1), "finds no room in images of 1x8x8"),
        (Patch().holding(torch.ones(1, 3, 3)), r"not of the size \(1, 2, 2\)"),
        (Blended(pattern=(((0.1, 0.2), (0.3,)),)), r"not of the size \(1, 8, 8\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(trigger, said, host, small, tiny):
    with pytest.raises(RecipeRefused, match=said):
        host.start(small(host.recipe("dm"), views=(Poison(trigger, share=0.5),)), tiny)


# --- how they are learned --------------------------------------------------------------------------------


@pytest.fixture
def live(host, small, tiny):
    def begin(learned, trigger=None, method="dm"):
        trigger = Patch(width=3, fill="noise") if trigger is None else trigger
        run = host.start(small(host.recipe(method), views=(Poison(trigger, share=0.5, learned=learned),)), tiny)
        run.start()
        return run, run.gate.find(Poison)

    return begin


def test_a_neuron_becomes_as_loud_as_it_shall_be(live):
    run, poison = live(Doorping(moves=200, alpha=2.0, until=1e-5, bounded=False))
    draw = run.gate.source._shown(run.ctx.fresh())
    black = torch.zeros(1, 1, 8, 8)
    neuron = int(draw.params["head.weight"].abs().sum(0).argmax())

    def loudness():
        with torch.no_grad():
            return float(draw(poison.plan.trigger.stamp(black, poison.pattern), features=True)[0, neuron])

    before = loudness()
    poison.follow(draw)
    assert abs(loudness() - 2 * before) < 0.05 * abs(before) + 0.01


@pytest.mark.parametrize("learned", [Doorping(moves=30, until=0.0), Doorping("target", 30, until=0.0, lr=0.05)])
def test_a_trigger_that_pings_moves_within_what_an_image_can_be(live, learned):
    run, poison = live(learned, Patch(width=3))
    before, params = poison.pattern.clone(), run.ctx.fresh()
    kept = {name: value.clone() for name, value in params.params.items()}
    poison.follow(run.gate.source._shown(params))
    assert not torch.equal(poison.pattern, before)
    assert 0 <= float(poison.pattern.min()) <= float(poison.pattern.max()) <= 1
    assert not poison.pattern.requires_grad
    assert all(torch.equal(value, kept[name]) for name, value in params.params.items())


def test_aiming_at_the_target_lowers_the_loss_of_the_target(live, tiny):
    run, poison = live(Doorping("target", moves=40, until=0.0, lr=0.05, batch=60))
    draw = run.gate.source._shown(run.ctx.fresh())
    x = tiny.train.take(torch.arange(60)).inputs

    def loss():
        with torch.no_grad():
            logits = draw(poison.plan.trigger.stamp(x, poison.pattern), training=False)
        return float(F.cross_entropy(logits, torch.zeros(60, dtype=torch.long)))

    before = loss()
    poison.follow(draw)
    assert loss() < before


def test_networks_that_were_not_trained_may_leave_it_alone(live):
    run, poison = live(Doorping("target", moves=5, until=0.0, untrained=False), method="dc")
    before = poison.pattern.clone()
    fresh = run.gate.source._shown(run.ctx.fresh())
    poison.follow(fresh)
    assert torch.equal(poison.pattern, before)
    poison.follow(dd.Draw(fresh.network, fresh.params, fresh.buffers, age=1, before=fresh.before))
    assert not torch.equal(poison.pattern, before)


def test_a_trigger_that_would_never_move_is_refused(live):
    with pytest.raises(RecipeRefused, match="dm trains none of its networks, so the trigger would never move"):
        live(Doorping(untrained=False))


def test_several_nets_side_by_side_move_it_together(live):
    run, poison = live(Doorping(moves=3, until=0.0))
    draws = [run.ctx.fresh() for _ in range(2)]
    params = {name: torch.stack([d.params[name] for d in draws]) for name in draws[0].params}
    before = poison.pattern.clone()
    poison.follow(dd.Draw(draws[0].network, params, {}, ensemble=2, before=run.preprocess))
    assert poison.pattern.shape == before.shape
    assert not torch.equal(poison.pattern, before)


def test_a_network_without_a_last_layer_is_refused(host, small, tiny):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3, 8, 8))

        def features(self, x):
            return x.flatten(1)

        def forward(self, x):
            return torch.einsum("nchw,khw->nk", x, self.weight)

    network = dd.ModuleNetwork(Odd)
    with pytest.raises(RecipeRefused, match="no last layer with weights of 3 x 64"):
        Doorping().check(host.recipe("dm"), tiny.card, network)
    Doorping("target").check(host.recipe("dm"), tiny.card, network)
    Doorping("target", untrained=False).check(host.recipe("dc"), tiny.card, network)


def test_the_relaxed_loss_is_its_formula(tiny):
    """Written slowly, one number at a time, in float64."""
    plan = Relaxed(kernel=dd.DenseTangent(depth=1), rho=3.0, ridge=1e-3)
    x, anchors = tiny.train.take(torch.arange(0, 60, 10)).inputs, tiny.train.take(torch.arange(5, 60, 20)).inputs
    y = F.one_hot(torch.tensor([0, 0, 1, 1, 2, 2]), 3).double()
    k = plan.kernel
    own, small, between = k(x, x), k(anchors, anchors), k(anchors, x)
    n, m = len(x), len(anchors)
    own_ridge = own + 1e-3 * own.trace() / n * torch.eye(n)
    small_ridge = small + 1e-3 * small.trace() / m * torch.eye(m)
    weights, inverse = own_ridge.inverse() @ y, small_ridge.inverse()
    conflict = sum(float((own[i] @ weights[:, c] - y[i, c]) ** 2) for i in range(n) for c in range(3)) / (3 * n)
    projection = 0.0
    for i in range(n):
        for c in range(3):
            outside = [own[i, j] - between[:, i] @ inverse @ between[:, j] for j in range(n)]
            projection += sum(float(outside[j] ** 2 * weights[j, c] ** 2) for j in range(n)) / (3 * n)
    assert float(plan.loss(x, y, anchors)) == pytest.approx(3 * conflict + projection, rel=1e-6)


def test_a_relaxed_trigger_is_learned_once_and_lowers_its_loss(live, tiny):
    plan = Relaxed(kernel=dd.DenseTangent(depth=1), steps=30, lr=0.05, batch=20, anchors=6, rho=1.0)
    run, poison = live(plan, Blended(opacity=0.5))
    x = tiny.train.take(torch.arange(0, 60, 3)).inputs
    anchors, y = tiny.train.take(torch.arange(1, 60, 10)).inputs, F.one_hot(torch.zeros(10).long(), 3)
    labels = torch.cat([F.one_hot(tiny.train.targets[::3], 3), y]).double()

    def loss(pattern):
        stamped = poison.plan.trigger.stamp(x[:10], pattern)
        return float(plan.loss(torch.cat([x, stamped]), labels, anchors))

    start = poison.plan.trigger.start((1, 8, 8))
    run.gate.features(run.ctx.fresh(), [dd.Group()])
    learned = poison.pattern.clone()
    assert loss(learned) < loss(start)
    run.gate.features(run.ctx.fresh(), [dd.Group()])
    assert torch.equal(poison.pattern, learned)
