"""The formulas, written slowly in float64, against the parts."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ddcore.augment.siamese import OPERATIONS, Siamese
from ddcore.carriers.picking import farthest, herd
from ddcore.carriers.ranked import forgotten
from ddcore.distance import FilterCosine
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.types import DataCard, Draw

CARD = DataCard("made", (2, 8, 8), 3, (4, 4, 4))


def double(values):
    return {name: value.double() for name, value in values.items()}


def gradients(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv": (4, 2, 3, 3), "conv.bias": (4,), "norm": (4,), "head": (3, 5)}
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def test_filter_cosine_is_the_papers_distance():
    S, T = gradients(0), gradients(1)
    slow = 0.0
    for name in ("conv", "head"):
        for s, t in zip(S[name], T[name], strict=True):
            dot = sum(a * b for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True))
            lengths = [sum(a * a for a in v.flatten().tolist()) ** 0.5 for v in (s, t)]
            slow += 1 - dot / (lengths[0] * lengths[1] + 1e-6)
    assert float(FilterCosine()(S, T)) == pytest.approx(slow, rel=1e-12)


def test_filter_cosine_leaves_out_vectors_and_scale():
    S, T = gradients(0), gradients(1)
    changed = {name: value * (100 if value.ndim == 1 else 1) for name, value in S.items()}
    assert FilterCosine()(S, T) == FilterCosine()(changed, T)
    doubled = {name: 2 * value for name, value in S.items()}
    assert float(FilterCosine(eps=0)(doubled, T)) == pytest.approx(float(FilterCosine(eps=0)(S, T)), rel=1e-12)
    assert float(FilterCosine(eps=0)(S, S)) == pytest.approx(0, abs=1e-12)


def test_filter_cosine_is_smooth_twice_and_safe_at_zero():
    T = gradients(1)
    start = gradients(0)["conv"]

    def distance(conv):
        return FilterCosine()({"conv": conv}, T)

    assert torch.autograd.gradcheck(distance, start.requires_grad_())
    assert torch.autograd.gradgradcheck(distance, start)
    zero = torch.zeros(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(zero), zero)
    rows = T["conv"].flatten(1)
    assert torch.allclose(gradient.flatten(1), -rows / 1e-6), "the formula's own derivative, and no NaN"


def test_matching_gradient_against_finite_differences():
    """d/dx D( grad l(x; theta), g ), through two derivatives of the network."""
    network = ConvNet(width=3, depth=2, activation="swish").build(CARD)
    params, _ = network.init(torch.Generator().manual_seed(0))
    draw = Draw(network, double(params), {})
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 2, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 2])
    real = {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in params.items()}

    def loss(x):
        leaves = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        value = cross_entropy(draw(x, leaves), y).mean()
        found = torch.autograd.grad(value, list(leaves.values()), create_graph=True)
        return FilterCosine()(dict(zip(leaves, found, strict=True)), real)

    (gradient,) = torch.autograd.grad(loss(x), x)
    for place in ((0, 0, 1, 2), (1, 1, 7, 7), (0, 1, 4, 4)):
        step = torch.zeros_like(x)
        step[place] = 1e-6
        numeric = ((loss(x.detach() + step) - loss(x.detach() - step)) / 2e-6).detach()
        assert float(gradient[place]) == pytest.approx(float(numeric), rel=1e-5, abs=1e-8)


def run_of(host, small, data, method, **fields):
    run = host.start(small(host.recipe(method, ipc=2, iterations=1), **fields), data)
    run.start()
    return run


def test_feature_match_is_the_papers_loss(host, small, tiny):
    run = run_of(host, small, tiny, "dm", augment=None)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    state = run.rng["real"].get_state()
    (loss,) = run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)
    run.rng["real"].set_state(state)
    slow, pixels = 0.0, run.synthetic.carrier.pixels
    leaf = pixels.detach().clone().double().requires_grad_()
    at = Draw(draw.network, double(draw.params), {})
    for c in range(3):
        rows = tiny.train.draw(run.rng["real"], (c,), 4)
        real = run.preprocess(tiny.train.inputs[rows].double() / 255)
        mean_real = sum(at(x[None], features=True)[0] for x in real) / 4
        mean_synthetic = sum(at(leaf[i][None], features=True)[0] for i in (2 * c, 2 * c + 1)) / 2
        slow = slow + ((mean_real - mean_synthetic) ** 2).sum()
    (gradient,) = torch.autograd.grad(slow, leaf)
    assert loss == pytest.approx(float(slow.detach()), rel=1e-4)
    assert torch.allclose(pixels.grad.double(), gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))


def test_gradient_match_is_the_sum_over_classes(host, small, tiny):
    run = run_of(host, small, tiny, "dc")
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    state = run.rng["real"].get_state()
    (loss,) = run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)
    run.rng["real"].set_state(state)
    pixels = run.synthetic.carrier.pixels
    leaf = pixels.detach().clone().double().requires_grad_()
    params = {name: value.double().requires_grad_() for name, value in draw.params.items()}
    slow = 0.0
    for c in range(3):
        rows = tiny.train.draw(run.rng["real"], (c,), 4)
        real = run.preprocess(tiny.train.inputs[rows].double() / 255)
        losses = [F.cross_entropy(draw(x[None], params), torch.tensor([c])) for x in real]
        g_real = torch.autograd.grad(sum(losses) / 4, list(params.values()))
        mine = sum(F.cross_entropy(draw(leaf[i][None], params), torch.tensor([c])) for i in (2 * c, 2 * c + 1)) / 2
        g_synthetic = torch.autograd.grad(mine, list(params.values()), create_graph=True)
        for s, t in zip(g_synthetic, g_real, strict=True):
            if s.ndim >= 2:
                for a, b in zip(s.flatten(1), t.flatten(1), strict=True):
                    slow = slow + 1 - (a @ b) / (a.norm() * b.norm() + 1e-6)
    (gradient,) = torch.autograd.grad(slow, leaf)
    assert loss == pytest.approx(float(slow.detach()), rel=1e-4)
    assert torch.allclose(pixels.grad.double(), gradient, rtol=1e-2, atol=1e-4 * float(gradient.abs().max()))


@pytest.mark.parametrize("op", OPERATIONS)
def test_both_sides_of_dsa_share_one_draw(host, small, tiny, op, monkeypatch):
    """The gate sees exactly the change that S sees, class by class."""
    mirrored = replace(tiny, card=replace(tiny.card, flips=True))
    run = run_of(host, small, mirrored, "dsa", augment=Siamese(ops=(op,)))
    seen = []
    gradient = run.gate.gradient
    monkeypatch.setattr(
        run.gate, "gradient", lambda draw, groups, loss: seen.extend(groups) or gradient(draw, groups, loss)
    )
    probe = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    state = run.rng["augment"].get_state()
    run.update()
    run.rng["augment"].set_state(state)
    views = [run.ctx.transform() for _ in range(3)]
    assert [group.classes for group in seen] == [(0,), (1,), (2,)]
    for group, view in zip(seen, views, strict=True):
        assert torch.equal(group.transform(probe), view(probe))
    assert not all(torch.equal(view(probe), views[0](probe)) for view in views)


def test_k_center_takes_the_farthest_from_the_nearest_taken():
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taken = [min(range(12), key=lambda i: float((features[i] - features.mean(0)).norm()))]
    while len(taken) < 6:
        left = [i for i in range(12) if i not in taken]
        taken.append(max(left, key=lambda i: min(float((features[i] - features[j]).norm()) for j in taken)))
    assert farthest(features, 6).tolist() == taken
    assert sorted(farthest(features, 12).tolist()) == list(range(12))
    assert sorted(farthest(torch.zeros(3, 2), 3).tolist()) == [0, 1, 2], "alike items are taken once each"


def test_forgetting_counts_falls_from_right_to_wrong_and_what_is_never_right_most():
    right = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 1, 1]], dtype=torch.bool)
    falls = [[sum(a and not b for a, b in pairwise(row)), 4][not any(row)] for row in right.T.tolist()]
    assert forgotten(right).tolist() == falls == [2, 4, 0, 1]


def test_herding_follows_the_mean_greedily():
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taken, left = [], list(range(12))
    for t in range(5):

        def gap(i, t=t):
            return float((features.mean(0) - (features[[*taken, i]].sum(0)) / (t + 1)).norm())

        best = min(left, key=gap)
        taken.append(best)
        left.remove(best)
    assert herd(features, features.mean(0), 5).tolist() == taken
    assert sorted(herd(features, features.mean(0), 12).tolist()) == list(range(12))
