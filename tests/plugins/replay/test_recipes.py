"""Distilled replay: its formula, and that it goes through the same doors as the core's methods."""

from dataclasses import replace

import pytest
import torch
from ddcore_replay import distilled_replay
from torch.nn import functional as F

import ddcore
from ddcore import Recipe


@pytest.fixture
def recipe():
    plain = distilled_replay(iterations=3, steps=3)
    return replace(plain, network=ddcore.MLP(width=6), objective=replace(plain.objective, real=60))


def test_an_update_goes_down_the_sum_of_the_losses_on_t_over_all_steps(host, tiny, recipe):
    """S' = S - 0.1 d/dS sum_j l_T( w_j ), unrolled slowly in float64; all of T is seen at each step."""
    run = host.start(recipe, tiny)
    run.start()
    before = run.synthetic.everything()
    run.update()
    network = run.draw.network
    params = {name: value.detach().double().requires_grad_() for name, value in run.draw.params.items()}
    images = before[0].detach().double().requires_grad_()
    store = tiny.train.take(torch.arange(60))
    real, total = run.preprocess(store.inputs).double(), 0.0
    for _ in range(3):
        loss = F.cross_entropy(network(params, {}, images), before[1])
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = {name: w - 0.05 * g for (name, w), g in zip(params.items(), grads, strict=True)}
        total = total + F.cross_entropy(network(params, {}, real), store.targets)
    (gradient,) = torch.autograd.grad(total, images)
    after = run.synthetic.everything()[0].double()
    assert float(gradient.abs().max()) > 1e-4
    assert torch.allclose(after, images - 0.1 * gradient, atol=1e-6)


def test_it_moves_every_image_resumes_and_comes_back(host, tiny, recipe):
    straight, again = host.start(recipe, tiny), host.start(recipe, tiny)
    straight.start()
    start = straight.synthetic.everything()[0].detach().clone()
    straight.go(until=2)
    again.load_state_dict(straight.state_dict())
    for run in (straight, again):
        run.go()
    found = straight.export()
    assert torch.equal(found.inputs, again.export().inputs)
    assert (found.inputs != start).flatten(1).any(1).all()
    assert found.nbytes == 3 * (64 * 4 + 1)
    assert Recipe.from_toml(found.recipe, host.catalogue) == straight.recipe


def test_it_cites_its_paper(host):
    assert "rosasco2021distilled" in {paper.key for paper in ddcore.cite("distilled_replay", host=host)}
    assert distilled_replay().update.lr["inputs"] == pytest.approx(0.1 * 30), "the objective is the mean of 30 losses"
