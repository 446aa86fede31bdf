"""Matching more than means: discrepancies, covariances and characteristic functions, written slowly in float64."""

import math
from dataclasses import replace
from weakref import WeakKeyDictionary

import pytest
import torch

from ddcore import RecipeRefused
from ddcore.kernels import Gaussian
from ddcore.networks.probe import covariances, crossed, embedded
from ddcore.objectives.features import CharacteristicMatch, CovarianceMatch, FeatureMatch, frequencies
from ddcore.types import Group


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_gaussian_kernel_is_its_formula():
    x, y, widths = normal(3, 2, 4), normal(2, 2, 4, seed=1), (0.5, 2.0)
    found = Gaussian(widths)(x, y)
    for i, a in enumerate(x.flatten(1).tolist()):
        for j, b in enumerate(y.flatten(1).tolist()):
            apart = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
            slow = sum(math.exp(-apart / (2 * w * w * 8)) for w in widths) / 2
            assert float(found[i, j]) == pytest.approx(slow, rel=1e-9)


def test_random_features_estimate_the_kernel():
    kernel, x = Gaussian(frequencies=40_000), normal(6, 8)
    turned = x @ kernel.drawn(8, torch.Generator().manual_seed(2)).double()
    features = torch.cat([turned.cos(), turned.sin()], 1) / turned.shape[1] ** 0.5
    assert torch.allclose(features @ features.T, kernel(x, x), atol=0.02)
    assert float(kernel(x, x)[0, 1:].max()) < 0.9, "all alike proves nothing"


def run_of(host, small, data, **fields):
    run = host.start(small(host.recipe("m3d", ipc=2, iterations=1), augment=None, **fields), data)
    run.start()
    return run


def classes_of(run, draw):
    """The features of each class of T and S at ``draw``, in float64."""
    double = replace(draw, params={name: value.double() for name, value in draw.params.items()})
    for c in range(3):
        rows = run.gate.source.store.draw(torch.Generator(), (c,))
        real = double(run.gate.source.take(rows, None, Group()).inputs.double(), features=True).detach()
        yield real, double(run.synthetic.take(run.synthetic.pick([c]))[0].double(), features=True)


def told_and_gradient(run, objective, draw):
    """The loss and the gradient of ``objective`` at ``draw``, and the stream ``kernel`` put back to where it stood."""
    state, pixels = run.rng["kernel"].get_state(), run.synthetic.carrier.pixels
    (told,) = objective.accumulate(draw, run.synthetic, run.ctx)
    found, pixels.grad = pixels.grad.clone(), None
    run.rng["kernel"].set_state(state)
    return told, found


def test_the_loss_is_the_discrepancy_over_all_pairs(host, small, tiny):
    run = run_of(host, small, tiny)
    objective = FeatureMatch(real=20, kernel=Gaussian(frequencies=64))
    draw, pixels = run.ctx.fresh(), run.synthetic.carrier.pixels
    told, found = told_and_gradient(run, objective, draw)
    drawn = frequencies(objective.kernel, draw, run.synthetic, run.ctx).double()

    def alike(x, y):
        return torch.stack([torch.stack([((a - b) @ drawn).cos().mean() for b in y]).mean() for a in x]).mean()

    slow = 0.0
    for real, made in classes_of(run, draw):
        slow = slow + alike(real, real) + alike(made, made) - 2 * alike(real, made)
    slow.backward()
    assert told == pytest.approx(float(slow.detach()), rel=1e-3)
    assert torch.allclose(found, pixels.grad, rtol=1e-2, atol=1e-3 * float(pixels.grad.abs().max()))


def test_the_unit_is_the_distance_of_items_of_s(host, small, tiny):
    """So the mean of the kernel's argument, u . (f - f'), does not depend on how large the features are."""
    run = run_of(host, small, tiny)
    draw = run.ctx.fresh()
    kernel = Gaussian(widths=(1.0,), frequencies=4000)
    drawn = frequencies(kernel, draw, run.synthetic, run.ctx)
    features = draw(run.synthetic.everything()[0].detach(), features=True)
    pairs = [(a - b) @ drawn for i, a in enumerate(features) for b in features[:i]]
    assert float(torch.stack(pairs).square().mean().detach()) == pytest.approx(1.0, rel=0.1)


def test_embedded_features_have_length_one_and_outputs_stay(host, small, tiny):
    run = run_of(host, small, tiny)
    draw, x = run.ctx.fresh(), run.synthetic.everything()[0].detach()
    probe = embedded(draw, normal(draw(x, features=True).shape[1], 5).float())
    assert torch.allclose(probe(x, features=True).norm(dim=1), torch.ones(len(x)))
    assert torch.equal(probe(x), draw(x))


def covariance(x):
    return (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)


def test_projections_tell_covariances(host, small, tiny):
    run = run_of(host, small, tiny)
    draw, x = run.ctx.fresh(), run.synthetic.everything()[0].detach()
    features = draw(x, features=True)
    directions = normal(2, features.shape[1], 7).float()
    probe = crossed(draw, directions)
    mean, told = covariances(probe, probe(x, features=True).mean(0, keepdim=True))
    slow = [float(p @ covariance(features) @ q) / 7**0.5 for p, q in zip(*directions.transpose(1, 2), strict=True)]
    assert torch.allclose(mean, features.mean(0, keepdim=True))
    assert torch.allclose(told, torch.tensor([slow]), rtol=1e-3, atol=1e-4 * float(told.abs().max()))
    assert torch.equal(probe(x), draw(x))


def test_covariance_match_is_the_papers_loss_along_many_directions(host, small, tiny):
    run = run_of(host, small, tiny)
    draw, pixels = run.ctx.fresh(), run.synthetic.carrier.pixels
    told, found = told_and_gradient(run, CovarianceMatch(real=20, weight=3000.0, directions=60_000), draw)
    means, spreads = 0.0, 0.0
    for real, made in classes_of(run, draw):
        means = means + (real.mean(0) - made.mean(0)).square().sum()
        spreads = spreads + 3000 / real.shape[1] * (covariance(real) - covariance(made)).square().sum()
    (means + spreads).backward()
    assert float(spreads.detach()) > 0.3 * float(means.detach()), "the means alone prove nothing"
    assert told == pytest.approx(float((means + spreads).detach()), rel=0.05)
    assert float((found - pixels.grad).norm()) < 0.05 * float(pixels.grad.norm())


def test_the_length_of_features_is_asked_once_and_changes_no_draw(host, small, tiny, monkeypatch):
    run, objective, asked = run_of(host, small, tiny), CovarianceMatch(real=20, directions=7), []
    network, state, room = type(run.ctx.network), run.rng["kernel"].get_state(), run.ctx.room
    apply = network.apply
    monkeypatch.setattr(network, "apply", lambda self, call, x: asked.append(x) or apply(self, call, x))
    monkeypatch.setattr("ddcore.objectives.features._lengths", WeakKeyDictionary())
    seen = [objective.seen(run.ctx.fresh(), run.synthetic, run.ctx) for _ in range(3)]
    assert len(asked) == 1 and room >= len(run.synthetic)
    d = run.ctx.fresh()(run.synthetic.everything()[0], features=True).shape[1]
    run.rng["kernel"].set_state(state)
    for draw in seen:
        torch.randperm(len(run.synthetic), generator=run.rng["kernel"])
        pairs = torch.randn(2, d, 7, generator=run.rng["kernel"])
        assert torch.equal(draw.buffers["directions"], pairs)


@pytest.mark.parametrize(("amplitude", "worst"), [(0.5, 1.0), (0.8, 0.25), (0.0, 0.25), (1.0, 0.01)])
def test_characteristic_match_is_the_papers_loss_at_the_worst_frequencies(host, small, tiny, amplitude, worst):
    run = run_of(host, small, tiny)
    objective = CharacteristicMatch(real=20, amplitude=amplitude, worst=worst, kernel=Gaussian(frequencies=20))
    draw, pixels = run.ctx.fresh(), run.synthetic.carrier.pixels
    told, found = told_and_gradient(run, objective, draw)
    drawn, slow = frequencies(objective.kernel, draw, run.synthetic, run.ctx).double(), 0.0
    for real, made in classes_of(run, draw):
        each = []
        for u in drawn.T:
            t, s = (torch.exp(1j * (x @ u)).mean() for x in (real, made))
            phase = 2 * (t.abs() * s.abs() - (t * s.conj()).real)
            each.append((amplitude * (t.abs() - s.abs()) ** 2 + (1 - amplitude) * phase).sqrt())
        each.sort(key=lambda value: -float(value.detach()))
        kept = max(1, round(worst * 20))
        slow = slow + sum(each[:kept]) / kept
    slow.backward()
    assert told == pytest.approx(float(slow.detach()), rel=1e-3)
    assert torch.allclose(found, pixels.grad, rtol=1e-2, atol=2e-3 * float(pixels.grad.abs().max()))


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(RecipeRefused, match="widths is empty"):
        Gaussian(widths=())
    with pytest.raises(RecipeRefused, match="logits follow from mean features, which a kernel replaces"):
        FeatureMatch(logits=1.0, kernel=Gaussian())
