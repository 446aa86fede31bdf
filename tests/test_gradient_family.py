"""What the gradient methods are made of: each part against its formula, written slowly in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ddcore import Draw, Recipe, RecipeRefused
from ddcore.carriers.formation import Formation
from ddcore.carriers.pixels import Pixels
from ddcore.distance import FilterCosine, Lp, MagnitudeAware
from ddcore.gate.fit import Fit
from ddcore.labels.vectors import Vectors
from ddcore.losses import cross_entropy
from ddcore.networks.mlp import MLP
from ddcore.objectives.gradient import GradientMatch
from ddcore.optimisers import Sgd
from ddcore.policies.early import Early
from ddcore.policies.fresh import Fresh
from ddcore.policies.perturbed import Perturbed
from ddcore.policies.trained import TrainedOnReal, TrainedOnSynthetic
from ddcore.types import DataCard


def double(values):
    return {name: value.double() for name, value in values.items()}


def noise(like, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(x.shape, generator=generator, dtype=torch.float64) for name, x in like.items()}


SHAPES = {"conv": torch.empty(4, 2, 3, 3), "conv.bias": torch.empty(4), "head": torch.empty(3, 5)}


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("only_convolutions", [True, False])
def test_lp_sums_the_powers_of_all_gaps(p, only_convolutions):
    S, T = noise(SHAPES, 0), noise(SHAPES, 1)
    slow = 0.0
    for name in ("conv",) if only_convolutions else SHAPES:
        for s, t in zip(S[name].flatten().tolist(), T[name].flatten().tolist(), strict=True):
            slow += abs(s - t) ** p
    assert float(Lp(p, only_convolutions)(S, T)) == pytest.approx(slow, rel=1e-12)


def test_lp_needs_a_convolution_unless_it_takes_all(host, small, tiny):
    recipe = small(host.recipe("idc", iterations=1), network=MLP(width=4))
    with pytest.raises(
        RecipeRefused, match=r"needs a network with convolutions .*objective.distance.only_convolutions=false"
    ):
        host.distill(recipe, tiny)
    host.distill(replace(recipe, objective=GradientMatch(Lp(only_convolutions=False), 4)), tiny)


def test_magnitude_aware_adds_the_length_of_each_filters_gap():
    S, T = noise(SHAPES, 0), noise(SHAPES, 1)
    slow = 0.0
    for name in ("conv", "head"):
        for s, t in zip(S[name], T[name], strict=True):
            a, b = s.flatten().tolist(), t.flatten().tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            lengths = [sum(x * x for x in v) ** 0.5 for v in (a, b)]
            slow += 1 - dot / (lengths[0] * lengths[1] + 1e-6)
            slow += sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
    assert float(MagnitudeAware()(S, T)) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("distance", [MagnitudeAware(), Lp(1), Lp(2)], ids=str)
def test_distances_are_smooth_and_safe_where_the_gradients_agree(distance):
    T = {"conv": noise(SHAPES, 1)["conv"]}
    start = noise(SHAPES, 0)["conv"].requires_grad_()

    def of(conv):
        return distance({"conv": conv}, T)

    assert torch.autograd.gradcheck(of, start)
    assert torch.autograd.gradgradcheck(of, start)
    same = T["conv"].clone()
    same[0] += 1
    same.requires_grad_()
    (first,) = torch.autograd.grad(of(same), same, create_graph=True)
    (second,) = torch.autograd.grad((first * start.detach()).sum(), same, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(second).all()
    assert first[0].abs().min() > 1e-3
    assert torch.allclose(first[1:], torch.zeros_like(first[1:]), atol=1e-6), "nothing pulls where nothing differs"


# --- scopes -----------------------------------------------------------------------------------------------


class Case:
    """An objective in float64 against answers of the gate that are made up."""

    def __init__(self, host, small, data, objective, monkeypatch, step=0):
        run = host.start(small(host.recipe("dc", ipc=2, iterations=9)), data)
        run.start()
        self.synthetic = run.synthetic.double()
        self.pixels = self.synthetic.carrier.pixels
        draw = run.ctx.fresh()
        self.draw = Draw(draw.network, double(draw.params), {})
        self.real = [noise(draw.params, 10 + c) for c in range(3)]
        self.requests = []
        monkeypatch.setattr(run.gate, "gradient", lambda draw, groups, loss: self.requests.append(groups) or self.real)
        self.objective, self.ctx = objective, replace(run.ctx, step=lambda: step)

    def steps(self):
        return self.objective.accumulate(self.draw, self.synthetic, self.ctx)

    def gradients(self, pixels):
        """grad l(S_c) of each class, with graph."""
        params = {name: value.detach().requires_grad_() for name, value in self.draw.params.items()}
        for c in range(3):
            logits = self.draw(pixels[2 * c : 2 * c + 2], params)
            value = F.cross_entropy(logits, torch.tensor([c, c]))
            yield dict(zip(params, torch.autograd.grad(value, list(params.values()), create_graph=True), strict=True))

    def apart(self, pixels, distance):
        return sum(distance(s, t) for s, t in zip(self.gradients(pixels), self.real, strict=True))

    def together(self, pixels, distance):
        S, T = (
            {name: sum(g[name] for g in gs) for name in self.real[0]}
            for gs in (list(self.gradients(pixels)), self.real)
        )
        return distance(S, T)

    def agrees(self, slow):
        """One step, whose loss and gradient are those of ``slow(pixels)`` by plain autograd."""
        leaf = self.pixels.detach().clone().requires_grad_()
        expected = slow(leaf)
        (wanted,) = torch.autograd.grad(expected, leaf)
        (loss,) = self.steps()
        assert len(self.requests) == 1
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        assert torch.allclose(self.pixels.grad, wanted, rtol=1e-8, atol=1e-12)
        assert wanted.flatten(1).abs().amax(1).min() > 0


DISTANCES = [FilterCosine(), MagnitudeAware(), Lp(2), Lp(1, only_convolutions=False)]


@pytest.mark.parametrize("distance", DISTANCES, ids=str)
def test_sum_compares_the_summed_gradients(host, small, tiny, monkeypatch, distance):
    case = Case(host, small, tiny, GradientMatch(distance, 4, "sum"), monkeypatch)
    case.agrees(lambda pixels: case.together(pixels, distance))


@pytest.mark.parametrize("distance", DISTANCES, ids=str)
def test_both_adds_the_summed_gradients_to_the_classes(host, small, tiny, monkeypatch, distance):
    case = Case(host, small, tiny, GradientMatch(distance, 4, "both", weight=0.7), monkeypatch)
    case.agrees(lambda pixels: case.apart(pixels, distance) + 0.7 * case.together(pixels, distance))


@pytest.mark.parametrize(("step", "warm"), [(0, True), (2, True), (3, False), (8, False)])
def test_the_warm_up_is_class_by_class_and_ends_after_its_steps(host, small, tiny, monkeypatch, step, warm):
    distance = FilterCosine()
    case = Case(host, small, tiny, GradientMatch(distance, 4, "sum", warmup=3), monkeypatch, step)
    case.agrees(lambda pixels: (case.apart if warm else case.together)(pixels, distance))


def test_dcc_warms_up_for_a_share_of_its_steps(host):
    assert host.recipe("dcc", iterations=80).objective.warmup == 20


def test_a_step_after_every_class_sees_what_the_step_before_has_moved(host, small, tiny, monkeypatch):
    distance = Lp(2)
    case = Case(host, small, tiny, GradientMatch(distance, 4, joint=False), monkeypatch)
    for c, loss in enumerate(case.steps()):
        leaf = case.pixels.detach().clone().requires_grad_()
        expected = distance(list(case.gradients(leaf))[c], case.real[c])
        (wanted,) = torch.autograd.grad(expected, leaf)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        assert torch.allclose(case.pixels.grad, wanted, rtol=1e-8, atol=1e-12)
        assert case.pixels.grad.flatten(1).any(1).nonzero().flatten().tolist() == [2 * c, 2 * c + 1]
        with torch.no_grad():
            case.pixels += 0.1
            case.pixels.grad.zero_()
    assert c == 2
    assert len(case.requests) == 1, "one request, at the step's network"


def test_a_step_after_every_class_counts_as_one_update(host, small, tiny):
    run = host.start(small(host.recipe("idc", iterations=2)), tiny)
    run.start()
    steps = []
    run.optimiser.register_step_post_hook(lambda *_: steps.append(run.step))
    run.run_until()
    assert steps == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("scope", ["sum", "both", "all"])
def test_classes_that_are_compared_together_have_one_step(scope):
    with pytest.raises(
        RecipeRefused, match=f"steps after every class, but scope = '{scope}' compares classes together"
    ):
        GradientMatch(scope=scope, joint=False)


# --- formation --------------------------------------------------------------------------------------------


def upsampled(tile, height, width):
    """Bilinear, without aligned corners: the value at output (i, j) from the four tile pixels around it."""
    answer = torch.zeros(len(tile), height, width, dtype=tile.dtype)

    def around(at, side, out):
        place = min(max((at + 0.5) * side / out - 0.5, 0), side - 1)
        low = int(place)
        return (low, 1 - (place - low)), (min(low + 1, side - 1), place - low)

    for i in range(height):
        for j in range(width):
            for row, share in around(i, tile.shape[1], height):
                for column, part in around(j, tile.shape[2], width):
                    answer[:, i, j] += share * part * tile[:, row, column]
    return answer


@pytest.mark.parametrize(("shape", "factor"), [((2, 6, 9), 3), ((1, 8, 8), 2), ((1, 8, 4), 4), ((3, 5, 4), 1)])
def test_a_formation_decodes_tile_by_tile(shape, factor):
    card = DataCard("made", shape, 3, (9, 9, 9))
    carrier = Formation(2, factor).build(card).double()
    with torch.no_grad():
        carrier.pixels.copy_(torch.randn(carrier.pixels.shape, generator=torch.Generator().manual_seed(0)))
    _, height, width = shape
    rows, columns = height // factor, width // factor
    slow = [
        upsampled(image[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns], height, width)
        for image in carrier.pixels.detach()
        for i in range(factor)
        for j in range(factor)
    ]
    everything = torch.arange(6 * factor**2)
    assert torch.allclose(carrier(everything), torch.stack(slow), atol=1e-12)
    some = everything.flip(0)[::3]
    assert torch.equal(carrier(some), carrier(everything)[some])
    assert carrier.classes.tolist() == [c for c in range(3) for _ in range(2 * factor**2)]
    assert carrier.pixels.shape == (6, *shape)
    assert carrier.nbytes() == 6 * shape[0] * height * width * 8, "stored images count, in float64 here"


@pytest.mark.parametrize(("ipc", "factor"), [(1, 2), (2, 2), (3, 4)])
def test_a_real_start_is_shrunk_real_images(host, small, tiny, ipc, factor):
    run = host.start(small(host.recipe("idc", ipc=ipc, iterations=1), synthetic=Formation(ipc, factor, "real")), tiny)
    run.start()
    run.rng.rewind()
    stored = run.synthetic.carrier.pixels.detach()
    wanted, side = ipc * factor**2, 8 // factor
    for c in range(3):
        shown = run.preprocess(tiny.train.take(tiny.train.draw(run.rng["real"], (c,), wanted)).inputs)
        assert len(shown) == min(wanted, 20)
        for i in range(wanted):
            at = c * ipc + i // factor**2, i % factor**2 // factor * side, i % factor * side
            image = shown[i % len(shown), 0]
            for row in range(side):
                for column in range(side):
                    box = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
                    assert float(stored[at[0], 0, at[1] + row, at[2] + column]) == pytest.approx(
                        float(box.mean()), abs=1e-5
                    )


def test_a_start_from_noise_asks_nothing(host, small, tiny, monkeypatch):
    plan = Formation(2, 2)
    assert (plan.asks, replace(plan, init="real").asks) == (frozenset(), {"examples"})
    run = host.start(small(host.recipe("idc", ipc=2, iterations=1), synthetic=plan), tiny)
    monkeypatch.setattr(run.gate, "examples", None)
    run.start()
    assert run.synthetic.carrier.pixels.detach().std() == pytest.approx(1, abs=0.2)


def test_stored_images_are_held_in_range_and_stand_in_the_artefact(host, small, tiny):
    recipe = small(host.recipe("idc", ipc=1, iterations=2, overrides={"update.lr.inputs": 1e4}))
    run = host.start(recipe, tiny)
    run.run_until()
    distilled = run.export()
    stored = run.preprocess.inverse(distilled.latent["images"])
    assert stored.shape == (3, 1, 8, 8)
    assert float(stored.min()) == pytest.approx(0, abs=1e-6)
    assert float(stored.max()) == pytest.approx(1, abs=1e-6)
    assert distilled.inputs.shape == (12, 1, 8, 8)
    free = host.start(replace(recipe, update=replace(recipe.update, clamp=False)), tiny)
    free.run_until()
    assert float(free.export().latent["images"].abs().max()) > 10, "the rate is one that leaves the range"


def test_tiles_that_are_not_equal_are_refused(host, small, tiny):
    recipe = small(host.recipe("idc", overrides={"synthetic.factor": 3}))
    with pytest.raises(RecipeRefused, match=r"factor = 3 does not cut items of shape \(1, 8, 8\) into equal tiles"):
        host.start(recipe, tiny)
    with pytest.raises(RecipeRefused, match="factor = 0: it must be at least 1"):
        Formation(1, factor=0)


# --- policies ---------------------------------------------------------------------------------------------


def drawn(run, n):
    return [run.recipe.policy.draw(run.policy, run.synthetic, run.ctx) for _ in range(n)]


def begun(host, small, data, policy, method="dc"):
    run = host.start(small(host.recipe(method, ipc=2, iterations=9), policy=policy), data)
    run.start()
    return run


def unlike(one, other):
    """Each matrix of the one differs from the other's."""
    return not any(torch.equal(value, other[name]) for name, value in one.items() if value.ndim >= 2)


def test_a_network_serves_its_rounds_and_is_trained_on_the_real_set_between(host, small, tiny):
    policy = TrainedOnReal(rounds=3, fit=Fit(steps=4, batch=8))
    run = begun(host, small, tiny, policy)
    draws = drawn(run, 7)
    assert [draw.age for draw in draws] == [0, 4, 8, 0, 4, 8, 0]
    again = begun(host, small, tiny, policy)
    first = again.ctx.fresh()
    for draw in draws[1:3]:
        (params,) = again.gate.fit(first, policy.fit)
        assert all(torch.equal(draw.params[name], params[name]) for name in params)
        first = replace(first, params=params)
    assert unlike(draws[0].params, draws[3].params), "then a fresh one"


def test_steps_and_epochs_of_training_on_the_real_set(host, small, tiny):
    policy = TrainedOnReal(rounds=2, fit=Fit(steps=None, epochs=2, batch=16), steps=2)
    ages = [draw.age for draw in drawn(begun(host, small, tiny, policy), 6)]
    assert ages == [0, 0, 8, 8, 0, 0], "60 items, 4 batches an epoch"


def test_what_a_policy_asks_is_what_its_training_needs():
    mixed = Fit(cutmix=0.5)
    assert TrainedOnReal(1).asks == Fresh().asks == frozenset()
    for policy in (TrainedOnReal(), Early(), Perturbed(Early())):
        assert policy.asks == {"fit"}
        assert policy.itemwise
    for policy in (TrainedOnReal(fit=mixed), Early(fit=mixed), Perturbed(Early(fit=mixed))):
        assert not policy.itemwise


def counted(run, monkeypatch):
    fits = []
    fit = run.gate.fit
    monkeypatch.setattr(run.gate, "fit", lambda draw, *rest: fits.append(draw) or fit(draw, *rest))
    return fits


def test_an_early_pool_is_trained_as_it_is_drawn(host, small, tiny, monkeypatch):
    policy = Early(networks=3, fit=Fit(steps=None, epochs=2, batch=20))
    run = begun(host, small, tiny, policy)
    fits, made = counted(run, monkeypatch), []
    for draw in (drawn(run, 1)[0] for _ in range(20)):
        seen = next((i for i, params in enumerate(made) if params is draw.params), None)
        if seen is None:
            made.append(draw.params)
        assert len(fits) == len(made) == len(run.policy["pool"]), "trained in the step that first draws it, not before"
        assert draw.age == 6
    assert len(made) == 3
    assert unlike(fits[0].params, made[0]), "and it was trained"


def test_an_early_pool_is_resumed_without_training_it_again(host, small, tiny, monkeypatch, tmp_path):
    policy = Early(networks=2, fit=Fit(steps=3, batch=8))
    straight = begun(host, small, tiny, policy)
    while len(straight.policy.get("pool", [])) < 2:
        drawn(straight, 1)
    torch.save(straight.state_dict(), tmp_path / "state.pt")
    again = host.start(straight.recipe, tiny)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    fits = counted(again, monkeypatch)
    for one, two in zip(drawn(straight, 6), drawn(again, 6), strict=True):
        assert all(torch.equal(one.params[name], two.params[name]) for name in one.params)
    assert fits == []


def test_an_empty_pool_is_refused():
    with pytest.raises(RecipeRefused, match="networks = 0: it must be at least 1"):
        Early(networks=0)


def test_a_network_is_trained_on_items_by_the_optimiser_that_is_named(host, small, tiny):
    policy = TrainedOnSynthetic(rounds=9, epochs=3, batch=1000, lr=0.01, optimiser=Sgd(momentum=0.9))
    run = begun(host, small, tiny, policy)
    before, after = drawn(run, 2)
    inputs, targets = (x.detach() for x in run.synthetic.everything())
    params = {name: value.clone().requires_grad_() for name, value in before.params.items()}
    optimiser = torch.optim.SGD(params.values(), lr=0.01, momentum=0.9)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(before(inputs, params), targets).backward()
        optimiser.step()
    for name, value in params.items():
        torch.testing.assert_close(after.params[name], value.detach(), rtol=0, atol=1e-5)
    assert after.age == 3


def test_a_perturbation_has_the_lengths_of_the_filters(host, small, tiny):
    run = begun(host, small, tiny, Perturbed(TrainedOnSynthetic(rounds=99, epochs=1), low=0.02, high=0.05))
    shares = []
    for draw in (drawn(run, 1)[0] for _ in range(8)):
        here = run.policy["params"]
        assert here.keys() == draw.params.keys()
        ways = []
        for name, value in here.items():
            if value.ndim == 1:
                assert torch.equal(draw.params[name], value), "vectors stay"
                continue
            way = (draw.params[name].double() - value.double()).flatten(1)
            ways.append(way.norm(dim=1) / value.double().flatten(1).norm(dim=1))
            along = F.cosine_similarity(way, value.double().flatten(1), dim=1)
            assert along.abs().mean() < 0.9, "a direction of its own"
        ways = torch.cat(ways)
        assert torch.allclose(ways, ways.mean().expand_as(ways), rtol=1e-3)
        shares.append(float(ways.mean()))
    assert all(0.02 <= share <= 0.05 for share in shares)
    assert len(set(shares)) == 8
    assert run.policy["age"] == 7, "the policy within goes on as if nothing had been moved"


def test_a_perturbed_policy_goes_the_way_of_the_one_within(host, small, tiny):
    within = TrainedOnReal(rounds=4, fit=Fit(steps=2, batch=8))
    plain, moved = (begun(host, small, tiny, policy) for policy in (within, Perturbed(within)))
    for one, two in zip(drawn(plain, 6), drawn(moved, 6), strict=True):
        assert one.age == two.age
        assert all(torch.equal(plain.policy["params"][n], moved.policy["params"][n]) for n in one.params)
    with pytest.raises(RecipeRefused, match=r"low = 0.3: it must be at most high = 0.1"):
        Perturbed(within, 0.3, 0.1)


@pytest.mark.parametrize("method", ["dm", "dsa"])
def test_early_and_perturbed_networks_suit_any_matching_method(host, small, tiny, method):
    policy = Perturbed(Early(networks=2, fit=Fit(steps=2, batch=8)))
    run = begun(host, small, tiny, policy, method)
    assert Recipe.from_toml(run.recipe.to_toml(), host.catalogue) == run.recipe
    assert run.recipe.asks >= {"fit"}
    before = run.synthetic.everything()[0].detach().clone()
    run.run_until(until=2)
    assert (run.synthetic.everything()[0] != before).flatten(1).any(1).all()


@pytest.mark.parametrize("method", ["dcc", "intra_inter", "idc", "accdd"])
def test_every_ipc_works(host, small, tiny, method):
    for ipc in (1, 3, 20):
        distilled = host.distill(small(host.recipe(method, ipc=ipc, iterations=1)), tiny)
        assert torch.isfinite(distilled.inputs).all()


def test_a_formation_stores_no_more_than_pixels(host, small, tiny):
    """Its images take the bytes of as many plain ones; each item that is decoded has a label of one byte."""
    formed = host.distill(small(host.recipe("idc", ipc=2, iterations=1)), tiny)
    plain = host.distill(small(host.recipe("dsa", ipc=2, iterations=1)), tiny)
    assert formed.nbytes == plain.nbytes == Pixels(2).ipc * 3 * (64 * 4 + 1)
    assert len(formed.targets) == 4 * len(plain.targets)


def test_the_real_side_has_the_loss_of_the_labels(host, small, tiny, monkeypatch):
    """Under squared labels both gradients are of the squared error, so S = T is at distance zero."""
    recipe = small(host.recipe("dsa", ipc=1, iterations=1, overrides={"augment": "none"}))
    labels = Vectors(centred=True, learned=False, loss="squared")
    run = host.start(replace(recipe, labels=labels, objective=GradientMatch(real=20)), tiny)
    run.start()
    store = run.gate.source.store
    run.synthetic.carrier.pixels = torch.nn.Parameter(run.preprocess(store.take(torch.arange(60)).inputs))
    run.synthetic.carrier.classes = store.targets.clone()
    run.synthetic.labels.vectors = labels.build(run.card, run.synthetic.carrier).vectors
    (loss,) = run.recipe.objective.accumulate(run.ctx.fresh(), run.synthetic, run.ctx)
    assert loss == pytest.approx(0, abs=0.01)
    monkeypatch.setattr("ddcore.objectives.gradient.loss_on_real", lambda labels, k: cross_entropy)
    (other,) = run.recipe.objective.accumulate(run.ctx.fresh(), run.synthetic, run.ctx)
    assert other > 0.1
