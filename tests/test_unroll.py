"""Derivatives through training: the flat-memory engine against one graph, and both against finite differences."""

import pytest
import torch

import ddcore.unroll
from ddcore.augment.siamese import Siamese
from ddcore.fast import fast_paths
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.types import DataCard, Draw
from ddcore.unroll import unroll

CARD = DataCard("made", (1, 8, 8), 3, (4, 4, 4))


def setting(steps, seed=0, activation="relu"):
    """A student in float64 with an augmentation a step; answers the loss of a step and its leaves."""
    generator = torch.Generator().manual_seed(seed)
    network = ConvNet(width=3, depth=2, activation=activation).build(CARD)
    start = {name: value.double() for name, value in network.init(generator)[0].items()}
    target = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in start.items()}
    draw = Draw(network, start, {})
    x = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(6, 3, generator=generator, dtype=torch.float64).softmax(1).requires_grad_()
    log_lr = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    views = [Siamese().draw(generator, CARD.shape, 4) for _ in range(steps)]
    rows = [torch.randperm(6, generator=generator)[:4] for _ in range(steps)]

    def loss(i, params):
        return cross_entropy(draw(views[i](x[rows[i]]), params), y[rows[i]]).mean()

    return start, target, loss, log_lr, [x, y, log_lr]


def derivatives(steps, memory, momentum=0.0, seed=0, lr=None):
    start, target, loss, log_lr, leaves = setting(steps, seed)
    way = unroll(loss, start, steps, log_lr.exp() if lr is None else lr, leaves, momentum, memory)
    way.backward({name: 2 * (value - target[name]) for name, value in way.end.items()})
    return way.end, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_exact_is_full_after_twenty_steps_under_augmentation(momentum):
    (end, exact), (full_end, full) = (derivatives(20, memory, momentum) for memory in ("exact", "full"))
    for name, value in end.items():
        assert torch.allclose(value, full_end[name], rtol=0, atol=1e-12)
    for a, b in zip(exact, full, strict=True):
        assert float(b.abs().max()) > 1e-6
        assert float((a - b).norm() / b.norm()) < 1e-10


@pytest.mark.parametrize(("chunks", "made_again"), [(0, 20), (1, range(1, 20)), (16, 0)])
def test_kept_graphs_change_nothing_but_what_is_made_again(chunks, made_again, monkeypatch):
    with fast_paths(False):
        end, plain = derivatives(20, "exact", 0.7)
    graphs, gradient = [], ddcore.unroll._gradient

    def watched(*given, graph):
        graphs.append(graph)
        return gradient(*given, graph=graph)

    monkeypatch.setattr("ddcore.unroll._gradient", watched)
    monkeypatch.setattr("ddcore.unroll.GRAPHS", chunks)
    monkeypatch.setattr("ddcore.unroll.chunk_bytes", lambda device: 2**17)
    with fast_paths(True):
        kept_end, kept = derivatives(20, "exact", 0.7)
    for a, b in zip([*end.values(), *plain], [*kept_end.values(), *kept], strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-14)
    again = len(graphs) - 20
    assert again in made_again if isinstance(made_again, range) else again == made_again
    assert graphs.count(True) == 20


def test_full_is_the_derivative_by_finite_differences():
    start, target, loss, log_lr, leaves = setting(5, activation="swish")
    x, y, _ = leaves

    def distance():
        way = unroll(loss, start, 5, log_lr.exp(), leaves, 0.5, "full")
        return float(sum((value - target[name]).square().sum() for name, value in way.end.items()))

    way = unroll(loss, start, 5, log_lr.exp(), leaves, 0.5, "full")
    way.backward({name: 2 * (value - target[name]) for name, value in way.end.items()})
    for leaf, place in ((x, (0, 0, 2, 3)), (x, (5, 0, 7, 7)), (y, (1, 2)), (log_lr, ())):
        found = float(leaf.grad[place])
        leaf.data[place] += 1e-6
        above = distance()
        leaf.data[place] -= 2e-6
        below = distance()
        leaf.data[place] += 1e-6
        assert found == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-9)


def test_a_step_size_for_each_step():
    rates = torch.linspace(0.05, 0.2, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for memory in ("exact", "full"):
        start, target, loss, _, (x, y, _) = setting(6)
        rates.grad = None
        way = unroll(loss, start, 6, rates, [x, y, rates], 0.5, memory)
        way.backward({name: value - target[name] for name, value in way.end.items()})
        found.append(rates.grad.clone())
    assert torch.allclose(*found, rtol=1e-10)
    assert (found[0] != 0).all()


def test_tesla_leaves_out_what_later_weights_owe_to_a_step():
    """Exact at one step; of several it keeps only the direct part, a dg_i/dx at fixed weights."""
    for a, b in zip(derivatives(1, "tesla")[1], derivatives(1, "full")[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    start, target, loss, log_lr, leaves = setting(4)
    x = leaves[0]
    _, tesla = derivatives(4, "tesla")
    way = unroll(loss, start, 4, log_lr.exp(), leaves, memory="full")
    cotangent = {name: 2 * (value - target[name]) for name, value in way.end.items()}
    weights, slow = start, torch.zeros_like(x)
    for i in range(4):
        here = {name: value.detach().requires_grad_() for name, value in weights.items()}
        gradients = torch.autograd.grad(loss(i, here), list(here.values()), create_graph=True)
        inner = sum((g * v).sum() for g, v in zip(gradients, cotangent.values(), strict=True))
        slow -= log_lr.exp().detach() * torch.autograd.grad(inner, x)[0]
        weights = {n: w - log_lr.exp().detach() * g.detach() for (n, w), g in zip(here.items(), gradients, strict=True)}
    assert torch.allclose(tesla[0], slow, rtol=1e-9)
    exact = derivatives(4, "exact")[1][0]
    assert float((tesla[0] - exact).norm() / exact.norm()) > 1e-3


def test_gradients_are_added_to_what_is_there():
    start, target, loss, log_lr, leaves = setting(3)
    grads = []
    for _ in range(2):
        way = unroll(loss, start, 3, log_lr.exp(), leaves)
        way.backward({name: value - target[name] for name, value in way.end.items()})
        grads.append([leaf.grad.clone() for leaf in leaves])
    for once, twice in zip(*grads, strict=True):
        assert torch.allclose(twice, 2 * once, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_a_window_counts_what_came_before_as_given(momentum):
    """The derivative through the last 3 of 8 steps, at the weights and the velocity that the first 5 led to."""
    found = []
    for memory in ("exact", "full"):
        start, target, loss, log_lr, leaves = setting(8)
        way = unroll(loss, start, 8, log_lr.exp(), leaves, momentum, memory, window=3)
        assert sorted(way.points) == [5, 6, 7, 8]
        way.backward({name: value - target[name] for name, value in way.end.items()})
        found.append([leaf.grad for leaf in leaves])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-9)
    start, target, loss, log_lr, whole = setting(8)
    way = unroll(loss, start, 8, log_lr.exp(), whole, momentum)
    way.backward({name: value - target[name] for name, value in way.end.items()})
    assert float((found[0][0] - whole[0].grad).norm() / whole[0].grad.norm()) > 1e-2
    if not momentum:
        start, target, loss, log_lr, short = setting(8)
        begun = unroll(loss, start, 5, log_lr.exp(), short).end
        way = unroll(lambda i, params: loss(i + 5, params), begun, 3, log_lr.exp(), short)
        way.backward({name: value - target[name] for name, value in way.end.items()})
        assert torch.allclose(found[0][0], short[0].grad, rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_losses_along_the_way_add_up(momentum):
    found = []
    for memory in ("exact", "full"):
        start, target, loss, log_lr, leaves = setting(6)
        way = unroll(loss, start, 6, log_lr.exp(), leaves, momentum, memory)
        pulls = {i: {name: value - target[name] for name, value in way.points[i].items()} for i in (2, 4, 6)}
        way.backward(pulls.pop(6), pulls)
        found.append([leaf.grad for leaf in leaves])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-9)
    slow = [0.0] * 3
    for i in (2, 4, 6):
        start, target, loss, log_lr, leaves = setting(6)
        way = unroll(loss, start, i, log_lr.exp(), leaves, momentum, "full")
        way.backward({name: value - target[name] for name, value in way.end.items()})
        slow = [total + leaf.grad for total, leaf in zip(slow, leaves, strict=True)]
    for a, b in zip(found[0], slow, strict=True):
        assert torch.allclose(a, b, rtol=1e-9)
