"""The private gate: what it answers, what that costs, what it refuses."""

import math
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from ddcore_private.gate import PrivateGate, clipped_sum, fingerprint, gaussian, item_gradients
from opacus import GradSampleModule
from torch import nn

import ddcore
from ddcore import Group, RecipeRefused, StopRun
from ddcore.plugin import cross_entropy

UNGUARDED = PrivateGate(epsilon=math.inf, noise_multiplier=0.0, max_gradient_norm=math.inf, max_feature_norm=math.inf)
NOISELESS = replace(UNGUARDED, max_gradient_norm=0.1, max_feature_norm=1.0)


@pytest.fixture
def begun(host, small):
    """A run of dm from noise whose gate is the given one."""

    def begin(data, gate, **fields):
        recipe = small(host.recipe("dm"), synthetic=ddcore.Pixels(1), gate=gate, **fields)
        run = host.start(recipe, data)
        run.start()
        return run

    return begin


def in_double(run):
    """The run's gate answering in float64, and a network to ask with."""
    before = run.gate.source.preprocess
    run.gate.source.preprocess = lambda x: before(x.double())
    draw = run.ctx.fresh()
    return replace(draw, params={name: value.double() for name, value in draw.params.items()})


GROUPS = [Group(classes=(c,)) for c in range(3)]


# --- the mechanism ---------------------------------------------------------------------------------------


def test_without_noise_and_bound_it_is_the_plain_gate(begun, tiny):
    """Whole classes, so that both gates see the same items."""
    private, plain = begun(tiny, UNGUARDED), begun(tiny, ddcore.plugin.Open())
    for tolerance in (1e-6, 1e-12):
        draw = private.ctx.fresh()
        if tolerance < 1e-6:
            draw, _ = in_double(private), in_double(plain)
        for one, other in zip(private.gate.features(draw, GROUPS), plain.gate.features(draw, GROUPS), strict=True):
            assert torch.allclose(one, other, rtol=0, atol=tolerance)
        ours, theirs = (run.gate.gradient(draw, GROUPS, cross_entropy) for run in (private, plain))
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.allclose(one[name], other[name], rtol=0, atol=tolerance) for name in one)


def test_an_items_gradient_is_that_of_a_batch_of_it_alone(begun, tiny):
    run = begun(tiny, UNGUARDED)
    draw = in_double(run)
    batch = run.gate.source.take(torch.arange(0, 60, 7), draw, Group())
    found = item_gradients(draw, cross_entropy)(batch.inputs, batch.targets)
    for i in range(len(batch)):
        leaves = {name: value.clone().requires_grad_() for name, value in draw.params.items()}
        loss = cross_entropy(draw(batch.inputs[i : i + 1], leaves), batch.targets[i : i + 1]).sum()
        for name, value in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            assert torch.allclose(found[name][i], value, rtol=0, atol=1e-12)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(3, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(3 * 64, 3)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.features(x))


def test_clipped_sums_are_opacus_own(begun, tiny):
    """Per-item gradients by opacus' hooks, clipped and added one by one."""
    torch.manual_seed(0)
    module = Small().double()
    network = ddcore.ModuleNetwork(lambda: Small().double())
    params = {f"inner.{name}": value.detach() for name, value in module.named_parameters()}
    run = begun(tiny, NOISELESS)
    in_double(run)
    (answer,) = run.gate.gradient(ddcore.Draw(network, params, {}), [Group(classes=(1,))], cross_entropy)
    batch = run.gate.source.take(torch.arange(20, 40), None, Group())
    hooked = GradSampleModule(module, loss_reduction="sum")
    nn.functional.cross_entropy(hooked(batch.inputs.requires_grad_()), batch.targets, reduction="sum").backward()
    each = {name.removeprefix("_module."): value.grad_sample for name, value in hooked.named_parameters()}
    norms = sum(value.flatten(1).square().sum(1) for value in each.values()).sqrt()
    assert (norms > 0.1).any()
    for name, value in each.items():
        slow = sum(value[i] * min(1.0, 0.1 / float(norms[i])) for i in range(20)) / 20
        assert torch.allclose(answer[f"inner.{name}"], slow, rtol=0, atol=1e-12)


def test_an_item_moves_an_answer_by_its_bound_at_most(begun, tiny):
    """One item of 20 made ten thousand times as large: at most 2 C / B, for gradients and for features."""
    images = tiny.train.take(torch.arange(60)).inputs
    monstrous = images.clone()
    monstrous[25] *= 1e4
    stores = [ddcore.Store.of(inputs, tiny.train.targets, 3) for inputs in (images, monstrous)]
    runs = [begun(replace(tiny, train=store), NOISELESS) for store in stores]
    draw = runs[0].ctx.fresh()
    one, other = (run.gate.features(draw, GROUPS) for run in runs)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[2], other[2])
    assert 0 < (one[1] - other[1]).norm() <= 2 * 1.0 / 20
    one, other = (run.gate.gradient(draw, GROUPS, cross_entropy) for run in runs)
    moved = torch.cat([(one[1][name] - other[1][name]).flatten() for name in one[1]]).norm()
    assert 0 < moved <= 2 * 0.1 / 20


def test_an_item_that_is_not_finite_says_nothing():
    items = {"w": torch.tensor([[3.0, 4.0], [torch.inf, 0.0], [0.3, 0.4], [torch.nan, 1.0]]), "b": torch.zeros(4, 1)}
    assert torch.allclose(clipped_sum(items, 1.0)["w"], torch.tensor([0.6 + 0.3, 0.8 + 0.4]))


def test_the_noise_has_the_deviation_that_the_formula_says(begun, tiny):
    """sigma C / B on more than ten thousand numbers, each group its own, none related to another."""
    gate = PrivateGate(epsilon=math.inf, noise_multiplier=1.5, max_feature_norm=2.0)
    run, plain = begun(tiny, gate), begun(tiny, replace(UNGUARDED, max_feature_norm=2.0, noise_multiplier=0.0))
    draw = run.ctx.fresh()
    exact = plain.gate.features(draw, GROUPS)
    found = [run.gate.features(draw, GROUPS) for _ in range(300)]
    noise = torch.stack([torch.stack(answer) - torch.stack(exact) for answer in found])
    assert noise.numel() > 10_000
    assert float(noise.std()) == pytest.approx(1.5 * 2.0 / 20, rel=0.02)
    assert abs(float(noise.mean())) < 4 * float(noise.std()) / noise.numel() ** 0.5
    between = torch.corrcoef(noise.movedim(1, 0).flatten(1))
    assert (between - torch.eye(3)).abs().max() < 0.05
    assert (noise[1:] * noise[:-1]).mean().abs() < 0.05 * noise.var()


def test_gaussian_numbers_are_standard_normal():
    x = gaussian(torch.Size([200_000]), torch.Generator().manual_seed(0))
    assert float(x.mean()) == pytest.approx(0, abs=0.01)
    assert float(x.std()) == pytest.approx(1, rel=0.01)
    assert float((x.abs() > 2).float().mean()) == pytest.approx(0.0455, rel=0.05)


def test_draws_are_poisson_and_empty_ones_are_noised_and_counted(begun, tiny):
    """One item of 20 expected: more than a third of the draws are empty, and look like any other."""
    gate = PrivateGate(epsilon=math.inf, noise_multiplier=1.0, max_feature_norm=1e-6)
    run = begun(tiny, gate)
    draw, sizes = run.ctx.fresh(), []
    take = run.gate.source.take
    run.gate.source.take = lambda rows, *rest: sizes.append(len(rows)) or take(rows, *rest)
    answers = [run.gate.features(draw, [Group(classes=(0,), size=1)])[0] for _ in range(400)]
    assert 0.25 < 1 - len(sizes) / 400 < 0.46, "(1 - 1/20)^20 = 0.36"
    assert sum(sizes) / 400 == pytest.approx(1, abs=0.2)
    assert run.gate.unwrapped.account.history == [(1.0, 1 / 20, 400)]
    assert all(answer.std() > 0 for answer in answers)


def test_a_request_costs_what_its_largest_rate_costs(begun, tiny):
    run = begun(tiny, PrivateGate(epsilon=math.inf, noise_multiplier=1.0))
    draw = run.ctx.fresh()
    run.gate.features(draw, [Group(classes=(0,), size=2), Group(classes=(1, 2), size=10)])
    run.gate.gradient(draw, [Group(size=6)], cross_entropy)
    assert run.gate.unwrapped.account.history == [(1.0, 10 / 40, 1), (1.0, 6 / 60, 1)]
    with pytest.raises(ValueError, match="must be disjoint"):
        run.gate.features(draw, [Group(), Group(classes=(0,))])
    assert run.gate.unwrapped.account.requests == 2


def test_fit_is_dp_sgd(begun, tiny):
    run = begun(tiny, PrivateGate(epsilon=math.inf, noise_multiplier=0.3, max_gradient_norm=1.0))
    draw = run.ctx.fresh()
    (params,) = run.gate.fit(draw, ddcore.Fit(steps=60, batch=30, lr=0.2))
    assert run.gate.unwrapped.account.history == [(0.3, 0.5, 60)]
    batch = run.gate.source.take(torch.arange(60), draw, Group())
    before, after = (cross_entropy(draw(batch.inputs, p), batch.targets).mean() for p in (draw.params, params))
    assert after < 0.5 * before


def test_features_of_s_are_bounded_as_those_of_t(begun, tiny):
    run = begun(tiny, PrivateGate(epsilon=math.inf, noise_multiplier=1.0, max_feature_norm=2.0))
    x = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]], requires_grad=True)
    bounded = run.gate.clip_features(x)
    assert torch.allclose(bounded, torch.tensor([[1.2, 1.6], [0.6, 0.8], [0.0, 0.0]]))
    (gradient,) = torch.autograd.grad((bounded * torch.tensor([4.0, -3.0])).sum(), x)
    assert torch.allclose(gradient, torch.tensor([[1.6, -1.2], [4.0, -3.0], [4.0, -3.0]]))


# --- secrecy and stops -----------------------------------------------------------------------------------


def private(host, small, name="dm", **options):
    recipe = small(host.recipe(name), synthetic=ddcore.Pixels(1), iterations=6)
    return replace(recipe, plugins={"private": {"epsilon": 8.0, **options}})


def test_the_noise_is_not_in_the_artefact_nor_in_the_seed(host, small, tiny):
    """Who replays the public recipe and its seed gets other noise: taking theirs off leaves the first in place."""
    found = []
    for _ in range(2):
        run = host.start(private(host, small), tiny)
        run.start()
        draw = run.ctx.fresh()
        found.append(torch.cat(run.gate.features(draw, GROUPS)))
    deviation = run.gate.unwrapped.noise_multiplier / 20
    assert float((found[0] - found[1]).std()) == pytest.approx(2**0.5 * deviation, rel=0.5)
    run.run_until()
    artefact = run.export()
    secrets = [state.numpy().tobytes()[24:5016] for state in run.rng.state_dict()["secret"].values()]
    assert len(secrets) == 2
    tensors = [*artefact.latent.values(), *artefact.preprocess_state.values(), artefact.inputs]
    for secret in secrets:
        assert not any(secret in value.numpy().tobytes() for value in tensors)
    assert artefact.facts["privacy"]["requests"] == 7


def test_a_stopped_run_neither_spends_twice_nor_forgets(host, small, tiny):
    straight = host.start(private(host, small), tiny)
    straight.run_until(until=2)
    state = deepcopy(straight.state_dict())
    straight.run_until()
    resumed = host.start(private(host, small), tiny)
    resumed.load_state_dict(state)
    assert resumed.gate.unwrapped.account.requests == 2
    resumed.run_until()
    assert torch.equal(resumed.export().inputs, straight.export().inputs), "the same answers, not new ones"
    assert resumed.gate.unwrapped.account.history == straight.gate.unwrapped.account.history
    assert resumed.gate.unwrapped.account.requests == 6


def test_given_noise_the_run_stops_in_good_order(host, small, tiny):
    recipe = replace(private(host, small, noise_multiplier=2.0, epsilon=1.5), iterations=50)
    distilled = host.distill(recipe, tiny)
    facts = distilled.facts["privacy"]
    assert 0 < facts["epsilon"] <= 1.5
    assert facts["requests"] == distilled.facts["steps"] < 50
    assert "is spent after" in distilled.facts["stopped"]


def test_kept_signals_come_again_at_no_cost(host, small, tiny):
    recipe = private(host, small, signals=2)
    run = host.start(replace(recipe, augment=ddcore.plugin.Siamese()), tiny)
    seen = []
    features = run.gate.features

    def noted(draw, groups):
        probe = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
        seen.append((fingerprint(draw.params), groups[0].seen(probe), features(draw, groups)))
        return seen[-1][2]

    run.gate.features = noted
    run.run_until()
    assert run.gate.unwrapped.account.requests == 2
    assert len(seen) == 6
    for first, again in zip(seen[:2], seen[2:4], strict=True):
        assert first[0] == again[0]
        assert torch.equal(first[1], again[1]), "S meets the augmentation that T had"
        assert all(torch.equal(a, b) for a, b in zip(first[2], again[2], strict=True))
    assert seen[0][0] != seen[1][0]
    trained = replace(recipe, policy=ddcore.plugin.TrainedOnSynthetic(rounds=3, epochs=1))
    with pytest.raises(RecipeRefused, match="not the one they were asked for: take a policy"):
        host.distill(trained, tiny)


# --- what is refused -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixing(ddcore.View):
    """Each item mixed with its neighbour."""

    def build(self, store, rng):
        raise AssertionError("a refused view is never built")


@dataclass(frozen=True)
class Averaging(ddcore.View):
    """Each item drawn to the mean of its batch, and a false word about it."""

    itemwise = True

    def build(self, store, rng):
        return LiveAveraging()


class LiveAveraging(ddcore.LiveView):
    def apply(self, batch, draw):
        return replace(batch, inputs=(batch.inputs + batch.inputs.mean(0)) / 2)


@dataclass(frozen=True)
class Mean(ddcore.View):
    """Each item less the mean of all, which it looks up when it is built."""

    itemwise = True

    def build(self, store, rng):
        raise AssertionError(f"the mean is {store.take(torch.arange(len(store))).inputs.mean()}")


REFUSED = [
    ({"synthetic": ddcore.Pixels(1, init="real")}, r"init='real'\) asks examples .* Start from noise"),
    ({"views": (Mixing(),)}, "mixes items"),
    ({"views": (Mean(),)}, "tries to read items of T while it is built"),
    ({"policy": ddcore.plugin.TrainedOnReal(fit=ddcore.Fit(cutmix=0.5))}, "mixes items"),
    ({"network": ddcore.ConvNet(width=4, depth=2, norm="batch")}, "batch statistics"),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED)
def test_parts_that_cannot_be_served_are_refused_before_the_run(host, small, tiny, fields, sentence):
    recipe = replace(private(host, small), **fields)
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(recipe, tiny)


def test_a_view_that_averages_the_batch_gets_no_certificate(host, small, tiny):
    with pytest.raises(RecipeRefused, match="The view averaging declares that it is itemwise, but"):
        host.distill(replace(private(host, small), views=(Averaging(),)), tiny)


def test_one_item_moves_an_attacked_answer_by_its_bound_at_most(begun, tiny):
    """A view that asks the network for its gradients, as attacks do, and changes each item by itself."""

    @dataclass(frozen=True)
    class Attack(ddcore.View):
        itemwise = True

        def build(self, store, rng):
            return LiveAttack()

    class LiveAttack(ddcore.LiveView):
        def apply(self, batch, draw):
            x = batch.inputs.clone().requires_grad_()
            loss = nn.functional.cross_entropy(draw(x), batch.targets, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x)
            return replace(batch, inputs=(x + 0.1 * gradient.sign()).clamp(0, 1))

    images = tiny.train.take(torch.arange(60)).inputs
    other = images.clone()
    other[25] = 1 - other[25]
    stores = [ddcore.Store.of(inputs, tiny.train.targets, 3) for inputs in (images, other)]
    runs = [begun(replace(tiny, train=store), NOISELESS, views=(Attack(),)) for store in stores]
    draw = runs[0].ctx.fresh()
    one, moved = (run.gate.features(draw, GROUPS) for run in runs)
    plain = begun(tiny, NOISELESS).gate.features(draw, GROUPS)
    assert not torch.equal(one[0], plain[0]), "attacked"
    assert torch.allclose(one[0], moved[0], atol=1e-6)
    assert 0 < (one[1] - moved[1]).norm() <= 2 * 1.0 / 20


def test_a_budget_for_several_runs_lasts_for_the_requests_of_all(host, small, tiny):
    recipe, ledgers, spent = private(host, small, requests=2), {}, []
    assert PrivateGate(requests=6).for_rounds(3) == PrivateGate(requests=18)
    assert PrivateGate(noise_multiplier=1.0).for_rounds(3) == PrivateGate(noise_multiplier=1.0)
    recipe = replace(recipe, iterations=2, objective=replace(recipe.objective, real=64))
    for number in range(3):
        run = host.start(replace(recipe, seed=number), tiny, rounds=3)
        assert run.recipe.gate.requests == 6
        if ledgers:
            run.gate.load_ledger(ledgers)
        distilled = run.hooks.ddcore_distill(run=run)
        ledgers = run.gate.ledger()
        spent.append(run.gate.spent())
        assert spent[-1].epsilon == distilled.facts["privacy"]["epsilon"]
    assert [one.requests for one in spent] == [2, 4, 6]
    assert spent[0].epsilon < spent[1].epsilon < spent[2].epsilon <= 8.0
    assert spent[2].epsilon > 7.0, "and no more noise than that takes"
    assert {one.delta for one in spent} == {1e-5}


def test_chosen_images_and_fitted_statistics_are_refused(host, small, tiny):
    for method in ("random", "herding"):
        recipe = replace(small(host.recipe(method)), plugins={"private": {"noise_multiplier": 1.0}})
        with pytest.raises(RecipeRefused, match=r"asks examples .* images chosen from T can never be private"):
            host.start(recipe, tiny)
    undeclared = replace(tiny, card=replace(tiny.card, mean=None, std=None))
    with pytest.raises(RecipeRefused, match=r"asks statistics .* Declare public numbers"):
        host.start(private(host, small), undeclared)
    host.start(replace(private(host, small), preprocess=ddcore.Standardise((0.4,), (0.3,))), undeclared)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epsilon": 0.0}, "epsilon = 0.0: it must be above 0"),
        ({"delta": 1.0}, "delta = 1.0: it must be above 0 and below 1"),
        ({"delta": 0.5}, r"delta = 0.5 would allow one of tiny's 60 items to be published"),
        ({"noise_multiplier": 1.0, "requests": 5}, "give one of them"),
        ({"noise_multiplier": -1.0}, "noise_multiplier = -1.0: it must be at least 0"),
        ({"noise_multiplier": 0.0}, "without noise nothing is private"),
        ({"epsilon": math.inf}, "says nothing about the noise"),
        ({"max_feature_norm": math.inf}, "infinite noise"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm = 0.0: it must be above 0"),
        ({"signals": 0}, "at least 1"),
        ({"requests": 0}, "at least 1"),
        ({"epsilom": 3.0}, r"no field of plugins.private named 'epsilom'. Did you mean epsilon"),
        ({"epsilon": "much"}, r"plugins.private.epsilon = 'much' is not usable"),
        ({"noise_multiplier": 0.01, "epsilon": 1.0}, "The allowance is zero"),
        ({"epsilon": 1e-9, "delta": 1e-12}, "No noise makes 6 requests"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(host, small, tiny, options, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        host.distill(private(host, small, **options), tiny)


def test_the_gate_is_said_in_one_place(host, small, tiny):
    recipe = private(host, small)
    other = replace(recipe, gate=PrivateGate(epsilon=3.0, noise_multiplier=1.0))
    with pytest.raises(RecipeRefused, match="Say it in one place"):
        host.start(other, tiny)
    bare = replace(recipe, plugins={}, gate=PrivateGate(epsilon=3.0))
    with pytest.raises(RecipeRefused, match="needs requests or noise_multiplier"):
        host.start(bare, tiny)
    final = host.start(recipe, tiny).recipe
    assert final.gate == PrivateGate(epsilon=8.0, requests=6)
    assert host.start(final, tiny).recipe == final


def test_the_budget_is_spent_by_the_gate_even_where_hooks_are_not_heard(host, small, tiny):
    recipe = replace(private(host, small), plugins={}, gate=PrivateGate(epsilon=1.5, noise_multiplier=2.0))
    run = host.start(replace(recipe, iterations=50), tiny)
    with pytest.raises(StopRun):
        run.run_until()
    assert 0 < run.gate.unwrapped.account.spent() <= 1.5


def test_a_request_that_mixes_items_is_refused(begun, tiny):
    run = begun(tiny, UNGUARDED)
    with pytest.raises(RecipeRefused, match="A request mixes items"):
        run.gate.gradient(run.ctx.fresh(), [Group(size=6, mixing=lambda x, y: (x, y))], cross_entropy)
    assert run.gate.unwrapped.account.requests == 0
