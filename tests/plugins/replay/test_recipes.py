"""Distilled replay: its formula, and that it goes through the same doors as the core's methods."""

from dataclasses import replace

import pytest
import torch
from ddcore_replay import Composite, distilled_replay
from torch.nn import functional as F

import ddcore


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


@pytest.mark.parametrize(("name", "nbytes"), [("distilled_replay", 3 * (64 * 4 + 1)), ("ccmcl", 3 * (66 * 4 + 1))])
def test_it_moves_every_image_resumes_and_comes_back(host, small, tiny, distilled_twice, name, nbytes):
    assert distilled_twice(small(host.recipe(name, iterations=3)), tiny).nbytes == nbytes


def test_dm_bases_goes_down_the_distance_of_mean_features_in_addresses_and_bases(host, tiny):
    """One step of SGD at one network, written slowly in float64; all of T is seen."""
    recipe = host.recipe("dm_bases", ipc=1, iterations=1, overrides={"network.width": 4, "network.depth": 2})
    recipe = replace(
        recipe,
        augment=None,
        update=ddcore.Update(lr={"inputs": 0.1, "bases": 0.2}, optimiser=ddcore.plugin.Sgd(momentum=0.0)),
    )
    run = host.start(recipe, tiny)
    run.start()
    carrier = run.synthetic.carrier
    names = ("addresses", "bases")
    before = {name: getattr(carrier, name).detach().double().requires_grad_() for name in names}
    run.update()
    draw = run.draw
    params = {name: value.detach().double() for name, value in draw.params.items()}

    def mean_features(x):
        return draw.network(params, {}, x, features=True).mean(0)

    store = tiny.train.take(torch.arange(60))
    real, loss = run.preprocess(store.inputs).double(), 0.0
    for c in range(3):
        rows = (carrier.classes == c).nonzero().flatten()
        small = torch.stack(
            [sum(a * b for a, b in zip(before["addresses"][i], before["bases"], strict=True)) for i in rows]
        )
        images = F.interpolate(small, (8, 8), mode="bilinear", align_corners=False)
        loss = loss + (mean_features(real[store.targets == c]) - mean_features(images)).square().sum()
    for (name, start), slope, rate in zip(
        before.items(), torch.autograd.grad(loss, list(before.values())), (0.1, 0.2), strict=True
    ):
        assert float(slope.abs().max()) > 1e-5
        assert torch.allclose(getattr(carrier, name).double(), start - rate * slope, atol=1e-6)


def test_a_stable_sequence_keeps_the_first_task_where_real_items_in_sequence_do_not(host, digits):
    small = {"network": {"name": "mlp", "width": 64}, "objective.steps": 20}
    recipe = host.recipe("stable_sequence", ipc=2, iterations=40, overrides=small)
    distilled = host.distill(recipe, digits)
    first = distilled.targets[distilled.order[:10]].unique().tolist()
    assert (first, distilled.targets[distilled.order[10:]].unique().tolist()) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert distilled.nbytes <= 10 * 2 * 256 * 4 + 4 * 20 + len(distilled)
    preprocess = ddcore.Standardise().fitted(digits.card)
    preprocess = preprocess.load(distilled.preprocess_state)
    test = ddcore.plugin.Preprocessed(digits.test, preprocess)
    x, y = test.take(torch.arange(len(test)))
    network, kept, lost = recipe.network.build(digits.card), [], []
    for seed in range(3):
        order = torch.Generator().manual_seed(seed)
        for found, real in ((kept, False), (lost, True)):
            params, _ = network.init(torch.Generator().manual_seed(seed))
            for i, rows in enumerate(distilled.order):
                params = {name: value.detach().requires_grad_() for name, value in params.items()}
                inputs, targets = distilled.inputs[rows], distilled.targets[rows]
                if real:
                    drawn = digits.train.take(digits.train.draw(order, range(5) if i < 10 else range(5, 10), len(rows)))
                    inputs, targets = preprocess(drawn.inputs), drawn.targets
                grads = torch.autograd.grad(
                    F.cross_entropy(network(params, {}, inputs), targets), list(params.values())
                )
                rate = distilled.step_sizes[i]
                params = {n: w - rate * g for (n, w), g in zip(params.items(), grads, strict=True)}
            right = network(params, {}, x).argmax(1) == y
            found.append(float(right[y < 5].float().mean()))
    assert sum(kept) / 3 > sum(lost) / 3 + 0.3, (kept, lost)


def started(host, small, tiny, **fields):
    run = host.start(small(host.recipe("ccmcl", ipc=2), synthetic=Composite(2, **fields)), tiny)
    run.start()
    return run.synthetic.carrier


@pytest.mark.parametrize("init", ["real", "noise"])
def test_composite_images_are_mixtures_of_their_class(host, small, tiny, init):
    carrier = started(host, small, tiny, init=init)
    assert carrier.classes.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for i, image in enumerate(carrier(torch.arange(12))):
        c, row = divmod(i, 4)
        slowly = sum(carrier.weights[c, row, k].double() * carrier.components[c, k].double() for k in range(2))
        assert torch.allclose(image.double(), slowly, atol=1e-6)


def test_composite_images_start_at_real_ones_and_their_best_approximations(host, small, tiny):
    carrier = started(host, small, tiny)
    images = carrier(torch.arange(12)).detach().view(3, 4, -1)
    preprocess = ddcore.Standardise((0.4,), (0.3,)).start(tiny.card, dict)
    real = preprocess(tiny.train.take(torch.arange(60)).inputs).view(3, 20, -1)
    for c in range(3):
        assert float(torch.cdist(images[c, :2], real[c]).min(1).values.max()) < 1e-3
        basis = images[c, :2].double()
        fits = [basis.T @ torch.linalg.lstsq(basis.T, x.double()[:, None]).solution for x in real[c]]
        nearest = torch.cdist(images[c, 2:].double(), torch.stack(fits)[..., 0]).min(1).values
        assert float(nearest.max()) < 1e-3


def test_it_cites_its_paper(host):
    for name, key in (
        ("distilled_replay", "rosasco2021distilled"),
        ("ccmcl", "wiewel2021ccmcl"),
        ("dm_bases", "zhao2023dm"),
        ("stable_sequence", "masarczyk2020stable"),
    ):
        assert key in {paper.key for paper in ddcore.cite(name, host=host)}
    assert distilled_replay().update.lr["inputs"] == pytest.approx(0.1 * 30), "the objective is the mean of 30 losses"
