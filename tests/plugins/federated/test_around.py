"""Networks round shared weights: the ball, the order of the outputs, and recipes that run there."""

from dataclasses import replace

import pytest
import torch
from ddcore_federated import Around, Shared, around, read_weights, shard, write_weights
from torch.nn import functional as F

import ddcore
from ddcore import ConvNet, Recipe, RecipeRefused

NETWORK = ConvNet(width=4, depth=2)


@pytest.fixture
def weights(tiny):
    return NETWORK.build(tiny.card).init(torch.Generator().manual_seed(5))[0]


@pytest.fixture
def path(weights, tmp_path):
    write_weights(tmp_path / "weights.safetensors", weights)
    return str(tmp_path / "weights.safetensors")


@pytest.fixture
def part(tiny):
    """A shard of classes 1 and 2 of three."""
    return shard(tiny, torch.arange(20, 60))


def starts(plan, card, n=1, seed=0):
    network, generator = plan.build(card), torch.Generator().manual_seed(seed)
    return [network.init(generator)[0] for _ in range(n)]


def distance(one, other):
    return float(sum((one[name] - other[name]).double().square().sum() for name in other) ** 0.5)


def test_with_no_radius_every_start_is_the_weights(tiny, weights, path):
    for params in starts(Around(NETWORK, weights=path), tiny.card, 2):
        assert params.keys() == weights.keys()
        assert all(torch.equal(params[name], weights[name]) for name in weights)


def test_starts_lie_at_the_radius_in_all_directions(tiny, weights, path):
    found = starts(Around(NETWORK, 2.5, path), tiny.card, 200)
    assert all(distance(params, weights) == pytest.approx(2.5, rel=1e-4) for params in found)
    ways = torch.stack([torch.cat([(p[n] - weights[n]).flatten() for n in weights]) for p in found])
    assert float(ways.mean(0).norm()) < 2.5 * 3 / 200**0.5, "there is no direction that they prefer"
    per_number = ways.square().mean(0) * ways.shape[1] / 2.5**2
    assert float(per_number.mean()) == pytest.approx(1, abs=1e-3)
    assert 0.5 < float(per_number.min()) < float(per_number.max()) < 1.7


def test_without_weights_all_who_know_the_seed_share_a_start(tiny):
    (one,), (two,) = starts(Around(NETWORK), tiny.card, seed=0), starts(Around(NETWORK), tiny.card, seed=1)
    (other,) = starts(Around(NETWORK, seed=1), tiny.card)
    assert distance(one, two) == 0
    assert distance(one, other) > 1


@pytest.mark.parametrize("plan", [NETWORK, ddcore.MLP(width=6), ddcore.plugin.LeNet()], ids=str)
def test_outputs_stand_in_the_order_of_the_classes(tiny, part, plan, tmp_path):
    shape = (1, 28, 28) if isinstance(plan, ddcore.plugin.LeNet) else (1, 8, 8)
    card = replace(tiny.card, shape=shape)
    whole = plan.build(card)
    weights = whole.init(torch.Generator().manual_seed(5))[0]
    write_weights(tmp_path / "w", weights)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    logits = whole(weights, {}, x)
    own = replace(card, classes=2)
    for classes in ((1, 2, 0), (2, 1)):
        network = Around(plan, weights=str(tmp_path / "w"), classes=classes).build(own)
        params, _ = network.init(torch.Generator())
        assert torch.allclose(network(params, {}, x), logits[:, list(classes)], atol=1e-6)
        assert torch.equal(network(params, {}, x, features=True), whole(weights, {}, x, features=True))


def test_a_recipe_is_put_at_the_weights_with_the_other_outputs_behind(tiny):
    recipe = around(Recipe("r", ddcore.Pixels(), network=NETWORK), "w", (1, 2), 3)
    assert recipe.network == Around(NETWORK, 0.0, "w", (1, 2, 0))
    again = around(replace(recipe, network=Around(NETWORK, 3.0)), "w", (2,), 3)
    assert again.network == Around(NETWORK, 3.0, "w", (2, 0, 1))
    said = around(Recipe("r", ddcore.Pixels(), labels=ddcore.plugin.Soft(None), network=NETWORK), "w", (1, 2), 3)
    assert said.network.classes == (1, 2)


def test_it_comes_back_from_toml(host, path):
    recipe = Recipe("r", ddcore.Pixels(), network=Around(NETWORK, 2.0, path, (1, 2, 0)))
    assert Recipe.from_toml(recipe.to_toml(), host.catalogue) == recipe


METHODS = ["dm", "cafe", "dc", "idc", "mtt", "sldd", "frepo", "kip", "datm", "rfad"]


@pytest.mark.parametrize("method", METHODS)
def test_any_recipe_of_the_core_runs_at_the_weights(host, part, path, method):
    data, classes = part
    fit = {"epochs": "none", "steps": 10, "batch": 8, "snapshots": 10}
    ways = {"mtt": ["policy.fit"], "datm": ["policy.fit", "labels.fit"], "idc": ["policy.fit"]}.get(method, [])
    said = {f"{way}.{name}": value for way in ways for name, value in fit.items()} | {"objective.real": 4}
    if method in ("mtt", "datm"):
        said = {name: value for name, value in said.items() if name != "objective.real"} | {"objective.steps": 2}
    if method == "datm":
        said["objective.threshold"] = "none"
    recipe = replace(host.recipe(method, iterations=2, overrides=said), network=NETWORK)
    recipe = around(recipe, path, classes, 3)
    run = host.start(recipe, data)
    run.start()
    before = run.synthetic.everything()[0].detach().clone()
    run.run_until()
    assert (run.synthetic.everything()[0] != before).any()
    shared = Shared.of(run.export(), classes, 3)
    assert (shared.targets if shared.targets.ndim == 1 else shared.targets.argmax(1)).unique().tolist() == [1, 2]


def test_losses_of_a_shard_are_over_all_classes_and_label_vectors_too(host, part, weights, path):
    """DOSFL's step: w - a grad l_{S, Y}( w ) with a softmax over three classes, of which the shard has two."""
    data, classes = part
    recipe = around(host.recipe("dosfl", iterations=1, steps=1), path, classes, 3)
    recipe = replace(recipe, network=replace(recipe.network, network=NETWORK), step_size=0.5)
    rates = {"inputs": 1.0, "labels": 1.0, "step_size": 1e-30}
    recipe = replace(recipe, update=ddcore.Update(lr=rates, optimiser=ddcore.plugin.Sgd(momentum=0.0)))
    run = host.start(replace(recipe, objective=replace(recipe.objective, real=40)), data)
    run.start()
    run.synthetic.labels.vectors.data += torch.tensor([[0.0, 0.3], [0.1, 0.0]])
    x, y = (tensor.detach().double().requires_grad_() for tensor in run.synthetic.everything())
    network, order = NETWORK.build(replace(data.card, classes=3)), [1, 2, 0]
    w = {n: (v[order] if n.startswith("head") else v).double().requires_grad_() for n, v in weights.items()}

    def loss(params, inputs, shares):
        return -(shares * network(params, {}, inputs).log_softmax(1)[:, :2]).sum(1).mean()

    grads = torch.autograd.grad(loss(w, x, y), list(w.values()), create_graph=True)
    after = {n: v - 0.5 * g for (n, v), g in zip(w.items(), grads, strict=True)}
    real = data.train.take(torch.arange(40))
    logits = network(after, {}, run.preprocess(real.inputs).double())
    of_x, of_y = torch.autograd.grad(F.cross_entropy(logits, real.targets), [x, y])
    run.update()
    moved_x, moved_y = run.synthetic.everything()
    assert float(of_y.abs().max()) > 1e-5
    assert torch.allclose(moved_x.double(), x - of_x, atol=1e-6)
    assert torch.allclose(moved_y.double(), y - of_y, atol=1e-6)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Around(NETWORK, weights="nowhere.safetensors"), "There is no file nowhere.safetensors"),
        (Around(NETWORK, classes=(1, 2)), "must be given: set network.weights"),
        (Around(ConvNet(width=4, depth=2, norm="batch")), "keeps running statistics"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_start_is_refused(part, plan, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        plan.build(part[0].card)


@pytest.mark.parametrize(
    ("width", "classes", "sentence"),
    [
        (5, (1, 2, 0), r"features.0.weight is \(4, 1, 3, 3\) and should give \(5, 1, 3, 3\)"),
        (4, (1, 2, 3), r"head.weight is \(3, 16\)"),
        (4, (1,), "are fewer than"),
    ],
)
def test_weights_of_another_network_are_refused(part, path, width, classes, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        Around(ConvNet(width=width, depth=2), weights=path, classes=classes).build(part[0].card)


@pytest.mark.parametrize("fields", [{"radius": -1.0}, {"radius": float("nan")}, {"classes": (1, 1)}, {"classes": ()}])
def test_a_plan_that_is_none_is_refused(fields):
    with pytest.raises(RecipeRefused, match="radius = .*: it must be .*at least 0|name each output once"):
        Around(NETWORK, **fields)


def test_weights_are_read_whole_and_finite(weights, tmp_path):
    write_weights(tmp_path / "w", weights)
    assert all(torch.equal(value, weights[name]) for name, value in read_weights(tmp_path / "w").items())
    (tmp_path / "cut").write_bytes((tmp_path / "w").read_bytes()[:-7])
    with pytest.raises(RecipeRefused, match="not a whole safetensors file"):
        read_weights(tmp_path / "cut")
    write_weights(tmp_path / "nan", {**weights, "head.bias": torch.tensor([0.0, float("nan"), 0.0])})
    with pytest.raises(RecipeRefused, match="head.bias holds NaN"):
        read_weights(tmp_path / "nan")
