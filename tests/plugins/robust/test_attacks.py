"""Attacks: what they may move, what they find, and how that compares with a slow loop and with AutoAttack."""

import math
from dataclasses import replace

import pytest
import torch
from ddcore_robust import L2, Against, AutoAttack, Fgsm, Linf, Pgd, RobustAccuracy, Unmoved, Victim
from ddcore_robust.measures import each_net, raw_items, spread_rows
from hypothesis import given, settings
from hypothesis import strategies as st

import ddcore
from ddcore import RealData, RecipeRefused
from ddcore import plugin as dd

BALLS = (Linf, L2)
EDGE = 1e-6


def streams(seed=0):
    return dd.Streams(seed)["attack"]


def linear(weights):
    """A victim whose logits are linear in the item: ``weights`` (d, k)."""
    return Victim(lambda x: x.flatten(1) @ weights)


def far(ball, moved, x):
    """How far each item has been moved, in the ball's own norm."""
    move = (moved - x).double().flatten(1)
    return move.abs().amax(1) if isinstance(ball, Linf) else move.norm(dim=1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(BALLS),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 4),
    step=st.sampled_from([None, 0.1, 3.0]),
    random=st.booleans(),
    stop=st.booleans(),
    seed=st.integers(0, 99),
)
def test_items_stay_within_the_ball_and_the_range(kind, epsilon, steps, step, random, stop, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.rand(5, 2, 3, 3, generator=g), torch.randint(3, (5,), generator=g)
    x[0], x[1] = 0, 1
    ball, victim = kind(epsilon), linear(torch.randn(18, 3, generator=g))
    for attack in (Pgd(ball, steps, step, random), Fgsm(ball)):
        moved = attack(victim, x, y, g, stop)
        assert moved.shape == x.shape
        assert float(far(ball, moved, x).max()) <= epsilon + EDGE
        assert float(moved.min()) >= -EDGE
        assert float(moved.max()) <= 1 + EDGE


@pytest.mark.parametrize("kind", BALLS)
def test_values_outside_the_range_need_not_come_back(kind):
    x = torch.tensor([[-0.5, 0.5, 1.4]])
    moved = kind(0.2).project(x + torch.tensor([[-0.1, 0.1, 0.1]]), x)
    assert torch.allclose(moved, torch.tensor([[-0.5, 0.6, 1.4]]))


@pytest.mark.parametrize("kind", BALLS)
def test_random_starts_fill_the_ball(kind):
    ball, x = kind(0.2), torch.full((4000, 4), 0.5)
    reach = far(ball, ball.drawn(x, streams()), x) / 0.2
    # a share r^4 of a ball of four dimensions lies within r of its centre, in either norm
    for r in (0.5, 0.8):
        assert abs(float((reach < r).float().mean()) - r**4) < 0.03


def slow_pgd(victim, x, y, ball, steps, start):
    """One item after another, from the formula."""
    found = []
    for item, c, at in zip(x, y, start, strict=True):
        for i in range(steps):
            at = at.detach().requires_grad_()
            logits = victim.logits(at[None])
            if int(logits.argmax()) != int(c):
                break
            (g,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, c[None]), at)
            size = ball.epsilon * (1 + math.cos(math.pi * i / steps))
            move = at.detach() - item + size * (torch.sign(g) if isinstance(ball, Linf) else g / g.norm())
            if isinstance(ball, Linf):
                move = torch.clamp(move, -ball.epsilon, ball.epsilon)
            elif float(move.norm()) > ball.epsilon:
                move = move * ball.epsilon / float(move.norm())
            at = torch.clamp(item + move, 0, 1)
        found.append(at.detach())
    return torch.stack(found)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.4)], ids=str)
def test_it_is_the_slow_loop(ball):
    g = torch.Generator().manual_seed(3)
    x, first, second = (
        torch.rand(12, 1, 4, 4, generator=g),
        *(torch.randn(*s, generator=g) for s in ((16, 8), (8, 3))),
    )
    victim = Victim(lambda x: torch.tanh(x.flatten(1) @ first.to(x)) @ second.to(x))
    y = victim.logits(x).argmax(1)
    moved = Pgd(ball, steps=6, random=False)(victim, x, y, g, stop=True)
    slow = slow_pgd(victim, x.double(), y, ball, 6, x.double())
    assert torch.allclose(moved, slow.float(), atol=1e-5)
    assert 0 < int((victim.logits(moved).argmax(1) == y).sum()) < len(y)


def test_it_raises_the_loss_that_it_is_told():
    g = torch.Generator().manual_seed(0)
    x, weights = torch.full((1, 4), 0.5), torch.randn(4, 3, generator=g)
    for loss, slope in (
        (dd.cross_entropy, None),
        (lambda logits, y: logits[:, 2], weights[:, 2]),
        (lambda logits, y: -logits[:, 2], -weights[:, 2]),
    ):
        moved = Fgsm(Linf(0.1))(replace(linear(weights), loss=loss), x, torch.tensor([0]), g)
        if slope is None:
            slope = weights @ ((x @ weights).softmax(1)[0] - torch.eye(3)[0])
        assert torch.allclose(moved, x + 0.1 * slope.sign())


def test_an_item_stays_where_it_is_first_taken_for_another():
    g, x = torch.Generator().manual_seed(0), torch.tensor([[0.5, 0.45], [0.9, 0.1]])
    victim, y = linear(torch.eye(2)), torch.tensor([0, 0])
    stopped, through = (Pgd(Linf(0.2), 10, step=0.25, random=False)(victim, x, y, g, stop) for stop in (True, False))
    assert torch.allclose(through, x + torch.tensor([[-0.2, 0.2], [-0.2, 0.2]]))
    assert torch.allclose(stopped[0], torch.tensor([0.45, 0.5])), "one step of 0.05 is enough"
    assert torch.equal(stopped[1], through[1])
    assert victim.logits(stopped).argmax(1).tolist() == [1, 0]


def test_adversarial_training_moves_each_nets_batch_in_raw_values(tiny):
    network = dd.ConvNet(width=4, depth=2).ready(tiny.card)
    starts = [network.init(torch.Generator().manual_seed(i))[0] for i in range(2)]
    draw = dd.Draw(network, {k: torch.stack([s[k] for s in starts]) for k in starts[0]}, {}, ensemble=2)
    preprocess = dd.Standardise(mean=(0.4,), std=(0.3,)).start(tiny.card, dict)
    batch = tiny.train.take(torch.arange(12))
    inputs, targets = preprocess(batch.inputs).expand(2, *batch.inputs.shape), batch.targets.expand(2, -1)
    against = Against(Pgd(Linf(0.1), 3), preprocess, dd.cross_entropy, streams())
    moved = against(draw, inputs, targets)
    raw = preprocess.inverse(moved.flatten(0, 1)).view_as(moved)
    assert float((raw - batch.inputs).abs().max()) <= 0.1 + EDGE
    assert (float(raw.min()), float(raw.max())) >= (-EDGE, 0) and float(raw.max()) <= 1 + EDGE
    assert not torch.equal(moved[0], moved[1])
    for net in range(2):
        losses = [dd.cross_entropy(draw(x)[net], targets[net]).mean() for x in (inputs, moved)]
        assert losses[1] > losses[0]


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [Pgd(), Fgsm(), AutoAttack(), Unmoved()], ids=lambda a: a.part_name())
def test_data_without_a_range_are_refused(attack, tiny):
    attack.ready(replace(tiny.card, classes=10, counts=(6,) * 10))
    floats = RealData.of("floats", (torch.rand(30, 1, 8, 8), torch.arange(30) % 3), None)
    with pytest.raises(RecipeRefused, match="floats came as floats, whose range is not known. Give them as uint8"):
        attack.ready(floats.card)


@pytest.mark.parametrize(("ball", "epsilon"), [(Linf, 1.5), (Linf, 0.0), (L2, -1.0)])
def test_an_epsilon_outside_is_refused(ball, epsilon):
    with pytest.raises(RecipeRefused, match=rf"epsilon = {epsilon}: it must be above 0"):
        ball(epsilon)


def test_autoattack_says_what_it_needs(monkeypatch, tiny):
    with pytest.raises(RecipeRefused, match="is for images of at least 4 classes, and tiny has images of 3"):
        AutoAttack().ready(tiny.card)
    monkeypatch.setattr("ddcore_robust.autoattack.find_spec", lambda name: None)
    with pytest.raises(RecipeRefused, match=r"pip install 'ddcore-robust\[autoattack\]'"):
        AutoAttack().ready(tiny.card)


# --- AutoAttack and a slow loop on 1,000 images ------------------------------------------------------------


@pytest.fixture
def mnist(shared):
    return ddcore.load("mnist", root=str(shared("MNIST").parent))


@pytest.mark.slow
@pytest.mark.parametrize("ball", [Linf(0.1), L2(1.5)], ids=str)
@pytest.mark.parametrize("against", [None, Pgd(Linf(0.1), 5)], ids=["standard", "adversarial"])
def test_pgd_is_within_a_point_of_apgd_and_of_a_slow_loop(mnist, against, ball):
    pytest.importorskip("pyautoattack")
    fitted = dd.Standardise().fitted(mnist.card).start(mnist.card, dict)
    attack = against and Against(against, fitted, dd.cross_entropy, streams())
    protocol = ddcore.Protocol(steps=300, repeats=1, networks=(dd.ConvNet(width=8, depth=2),))
    given = (protocol.networks[0], dd.Preprocessed(mnist.train, fitted), mnist.card, protocol, 2e-3, 0)
    ((draw, chunk),) = dd.fresh_nets(*given, torch.device("cpu"), attack=attack)
    shown = dd.Preprocessed(mnist.test, fitted)
    pgd20, pgd100, apgd = (
        float(RobustAccuracy(attack, 1000)(draw, shown, chunk))
        for attack in (Pgd(ball), Pgd(ball, 100), AutoAttack(ball, ("apgd-ce",)))
    )
    assert 5 < apgd < 95, "a ball in which something is left to be found"
    assert abs(pgd100 - apgd) <= 1
    (net,) = each_net(draw)
    x, y = next(raw_items(shown, spread_rows(len(shown), 1000), 1000, net))
    victim = Victim.of(net, fitted)
    moved = slow_pgd(victim, x, y, ball, 20, ball.drawn(x, streams(1)))
    slow = 100 * float((victim.logits(moved).argmax(1) == y).float().mean())
    print(f"{pgd20:.1f} {pgd100:.1f} {apgd:.1f} {slow:.1f}")
    assert abs(pgd20 - slow) <= 1
