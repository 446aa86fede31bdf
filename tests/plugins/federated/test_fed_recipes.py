"""Recipes of the plugin: their formulas, and that they go through the same doors as the core's methods."""

from dataclasses import replace

import pytest
import torch
from ddcore_federated import (
    Around,
    ByLoss,
    Dynafed,
    Masking,
    Remembered,
    ReplayEach,
    Shared,
    TrainOnUnion,
    Trajectory,
    UpdateMatch,
    around,
    remember,
    shard,
    write_trajectory,
    write_weights,
)
from safetensors.torch import save
from torch.nn import functional as F

import ddcore
from ddcore import ConvNet, Protocol, RecipeRefused
from ddcore.plugin import LabelledTensors

NETWORK = ConvNet(width=4, depth=2)
FIT = {"policy.fit.epochs": "none", "policy.fit.steps": 5, "policy.fit.batch": 8}
SMALLER = {"fedsynth": FIT, "goetz_tewari": FIT, "meta_knowledge": {"objective.objective.real": 8}}
TABLE = {
    # method: bytes of two images of each of three classes of 1x8x8
    "feddm": 6 * (64 * 4 + 1),
    "dosfl": 6 * (64 * 4 + 3 * 4) + 4 * 10,
    "fedd3": 6 * (64 * 4 + 1),
    "fedsynth": 6 * (64 * 4 + 1) + 4,
    "goetz_tewari": 6 * (64 * 4 + 1) + 4,
    "meta_knowledge": 6 * (64 * 4 + 1),
}


def made(host, name, ipc=2, iterations=3, overrides=None, radius=0.0):
    recipe = host.recipe(name, ipc=ipc, iterations=iterations, overrides={**SMALLER.get(name, {}), **(overrides or {})})
    network = Around(NETWORK, radius) if isinstance(recipe.network, Around) else NETWORK
    objective = replace(recipe.objective, real=8) if hasattr(recipe.objective, "real") else recipe.objective
    return replace(recipe, network=network, objective=objective)


@pytest.mark.parametrize("name", TABLE)
def test_it_moves_every_image_resumes_and_comes_back(host, tiny, distilled_twice, name):
    recipe = made(host, name, radius=1.0 if name == "feddm" else 0.0)
    assert distilled_twice(recipe, tiny).nbytes == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_a_shard_of_some_classes_goes_to_the_server_and_back(host, tiny, name, tmp_path):
    network = NETWORK.build(tiny.card)
    weights = network.init(torch.Generator().manual_seed(5))[0]
    write_weights(tmp_path / "weights", weights)
    sets = []
    for rows in (torch.arange(20, 60), torch.arange(0, 30), torch.arange(5)):
        data, classes = shard(tiny, rows, least=2)
        run = host.start(around(made(host, name), tmp_path / "weights", classes, 3), data)
        sets.append(Shared.of(run.hooks.ddcore_distill(run=run), classes, 3))
    assert [s.items for s in sets] == [40, 30, 5]
    replays = name in ("dosfl", "fedsynth", "goetz_tewari")
    server = ReplayEach() if replays else TrainOnUnion(Protocol(steps=2, repeats=1))
    found = server.next_weights(weights, sets, network, tiny.card, ddcore.Streams(0))
    assert found.keys() == weights.keys()
    assert any(not torch.equal(found[n], weights[n]) for n in weights)
    assert all(bool(value.isfinite().all()) for value in found.values())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("feddm", "xiong2023feddm"),
        ("dosfl", "zhou2020dosfl"),
        ("fedd3", "song2023fedd3"),
        ("fedsynth", "hu2022fedsynth"),
        ("goetz_tewari", "goetz2020synthetic"),
        ("meta_knowledge", "liu2023metaknowledge"),
        ("dynafed", "pi2023dynafed"),
    ],
)
def test_it_cites_its_paper_and_says_how_it_differs(host, name, key):
    assert key in {paper.key for paper in ddcore.cite(name, host=host)}
    assert "**Differs**" in host.catalogue.find("method", name).maker.__doc__


# --- FedDM -----------------------------------------------------------------------------------------------


def test_masked_items_are_noise_to_a_step_and_learn_nothing_from_it(host, tiny):
    x = torch.ones(1000, *tiny.card.shape, requires_grad=True)
    view = Masking(0.3).draw(torch.Generator().manual_seed(1), tiny.card.shape, n=1000)
    seen = view(x)
    kept = (seen == 1).flatten(1).all(1)
    assert 650 < int(kept.sum()) < 750
    noise = seen[~kept].detach()
    assert abs(float(noise.mean())) < 0.05 and float(noise.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(view(x), seen)
    seen.sum().backward()
    assert torch.equal(x.grad.flatten(1).any(1), kept)
    assert Masking(0.5).draw(torch.Generator(), tiny.card.shape)(x) is x
    with pytest.raises(RecipeRefused, match="augment = masking needs an objective that trains networks on S"):
        host.start(replace(host.recipe("dm"), augment=Masking(0.5)), tiny)
    with pytest.raises(ValueError, match="drawn for 1000 items"):
        view(x[:5])
    with pytest.raises(RecipeRefused, match="share = 1.0: it must be at least 0 and below 1"):
        Masking(1.0)


def test_dosfl_masks_its_steps_and_not_t(host, tiny, monkeypatch):
    recipe = replace(made(host, "dosfl", iterations=1), augment=Masking(0.99))
    run = host.start(recipe, tiny)
    run.start()
    before = run.synthetic.everything()[0].detach().clone()
    asked = []
    answer = run.gate.gradient
    monkeypatch.setattr(
        run.gate, "gradient", lambda draw, groups, loss: asked.extend(groups) or answer(draw, groups, loss)
    )
    run.run_until()
    assert [group.transform for group in asked] == [None]
    moved = (run.synthetic.everything()[0] != before).flatten(1).any(1)
    assert not moved.all(), "what was masked in every step stands still"


def test_feddm_matches_means_of_features_and_of_logits(host, tiny):
    """S' = S - d/dS sum_c ( || mean h(T_c) - mean h(S_c) ||^2 + || mean z(T_c) - mean z(S_c) ||^2 ), in float64."""
    recipe = made(host, "feddm", iterations=1, radius=1.5)
    recipe = replace(recipe, objective=replace(recipe.objective, real=20))
    run = host.start(replace(recipe, update=ddcore.Update(optimiser=ddcore.plugin.Sgd(momentum=0.0))), tiny)
    run.start()
    images = run.synthetic.everything()[0].detach().double().requires_grad_()
    loss = run.update()
    network = run.draw.network
    params = {name: value.double() for name, value in run.draw.params.items()}
    real = run.preprocess(tiny.train.take(torch.arange(60)).inputs).double().split(20)
    slow = 0.0
    for c in range(3):
        for features in (True, False):
            apart = [network(params, {}, x, features=features).mean(0) for x in (real[c], images[2 * c : 2 * c + 2])]
            slow = slow + (apart[0] - apart[1]).square().sum()
    (gradient,) = torch.autograd.grad(slow, images)
    assert loss == pytest.approx(float(slow.detach()), rel=1e-4)
    assert torch.allclose(run.synthetic.everything()[0].double(), images - gradient, atol=1e-5)
    alone = ddcore.plugin.FeatureMatch(real=20)
    assert recipe.objective.asks == alone.asks == {"features"}


def test_each_step_has_its_own_network_in_the_ball(host, tiny):
    recipe = made(host, "feddm", iterations=3, radius=1.5)
    centre = Around(NETWORK).build(tiny.card).init(torch.Generator())[0]
    run = host.start(recipe, tiny)
    run.start()
    met = []
    for _ in range(3):
        run.update()
        met.append(run.draw.params)
        far = sum((run.draw.params[n] - centre[n]).square().sum() for n in centre) ** 0.5
        assert float(far) == pytest.approx(1.5, rel=1e-5)
    assert not torch.equal(met[0]["head.bias"], met[1]["head.bias"])


@pytest.mark.parametrize("weight", [-1.0, float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(RecipeRefused, match="logits = .*: it must be .*at least 0"):
        ddcore.plugin.FeatureMatch(logits=weight)


# --- updates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), [("goetz_tewari", 1), ("fedsynth", 5)])
def test_the_steps_on_s_are_matched_with_the_update_of_local_training(host, tiny, name, steps):
    run = host.start(made(host, name, iterations=1), tiny)
    run.start()
    x, y = (tensor.detach() for tensor in run.synthetic.everything())
    a = float(run.synthetic.step_size.detach())
    loss = run.update()
    network, target = run.draw.network, run.draw.target
    start = {name: value.double() for name, value in run.draw.params.items()}
    centre = Around(NETWORK).build(tiny.card).init(torch.Generator())[0]
    assert all(torch.equal(run.draw.params[n], centre[n]) for n in centre)
    w = start
    for _ in range(steps):
        w = {n: value.requires_grad_() for n, value in w.items()}
        grads = torch.autograd.grad(F.cross_entropy(network(w, {}, x.double()), y), list(w.values()))
        w = {n: (value - a * g).detach() for (n, value), g in zip(w.items(), grads, strict=True)}
    gap = sum((w[n] - target[n]).square().sum() for n in w)
    way = sum((start[n].detach() - target[n]).square().sum() for n in w)
    assert float(way) > 1e-5
    assert loss == pytest.approx(float(gap / way), rel=1e-4)
    found = run.export()
    assert found.order.tolist() == [list(range(6))] * steps
    assert torch.allclose(found.step_sizes, run.synthetic.step_size.detach().expand(steps))


def test_an_update_of_no_steps_is_refused():
    with pytest.raises(RecipeRefused, match="steps = 0"):
        UpdateMatch(0)


# --- meta knowledge --------------------------------------------------------------------------------------


def test_items_count_the_less_the_larger_their_loss(host, tiny):
    """The cotangent is the gradient of the mean of 2 sigmoid( -tau l ) l, the weight taken as a constant."""
    recipe = made(host, "meta_knowledge", iterations=1)
    run = host.start(recipe, tiny)
    run.start()
    draw = run.ctx.fresh()
    asked = []

    inner = run.gate.gradient
    run.gate.gradient = lambda d, groups, loss: asked.append(loss) or inner(d, groups, loss)
    objective = ByLoss(ddcore.plugin.Bptt(steps=1, lr=0.1, real=60), tau=2.0)
    list(objective.accumulate(draw, run.synthetic, run.ctx))
    params = {n: v.double().requires_grad_() for n, v in draw.params.items()}
    store = tiny.train.take(torch.arange(60))
    logits = draw.network(params, {}, run.preprocess(store.inputs).double())
    each = F.cross_entropy(logits, store.targets, reduction="none")
    slow = (2 * torch.sigmoid(-2.0 * each.detach()) * each).mean()
    wanted = torch.autograd.grad(slow, list(params.values()))
    (found,) = inner(draw, [ddcore.Group()], asked[0])
    assert all(torch.allclose(found[n].double(), g, atol=1e-6) for n, g in zip(params, wanted, strict=True))
    assert float((each.max() - each.min()).detach()) > 0.1


def test_without_tau_all_items_count_alike(host, tiny):
    plain = ddcore.plugin.Bptt(steps=2, lr=0.1, real=60)
    recipe = made(host, "meta_knowledge", iterations=2)
    one, two = (host.distill(replace(recipe, objective=o), tiny) for o in (plain, ByLoss(plain, tau=0.0)))
    other = host.distill(replace(recipe, objective=ByLoss(plain, tau=3.0)), tiny)
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ByLoss(ddcore.plugin.FeatureMatch()), "asks no gradient of T"),
        (lambda: ByLoss(ddcore.plugin.Bptt(), tau=-1.0), "tau = -1.0: it must be at least 0"),
    ],
)
def test_what_cannot_be_weighed_is_refused(make, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        make()


def test_it_begins_at_what_was_made_before(host, tiny, tmp_path):
    """Classes 2 and 1 of three, three images of class 2 and one of class 1 made before; two a class are wanted."""
    data, classes = shard(tiny, torch.arange(20, 60))
    inputs = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 8, 8) + 100
    remember(tmp_path / "before", Shared(LabelledTensors(inputs, torch.tensor([2, 0, 1, 2, 2]))), classes)
    recipe = made(host, "meta_knowledge", overrides={"synthetic.path": str(tmp_path / "before")})
    run = host.start(recipe, data)
    run.start()
    found = run.synthetic.everything()[0].detach()[:, 0, 0, 0].tolist()
    assert found[0] == 102
    assert found[1] < 50, "where too few were made, the rest begins at real images"
    assert len(set(found[2:])) == 2
    assert set(found[2:]) <= {100, 103, 104}


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        (None, "a safetensors file with inputs and classes"),
        ({"inputs": torch.zeros(2, 1, 8, 8)}, "a safetensors file with inputs and classes"),
        ({"inputs": torch.zeros(2, 1, 9, 9), "classes": torch.zeros(2).long()}, r"are finite ones of \(1, 8, 8\)"),
        ({"inputs": torch.full((2, 1, 8, 8), torch.nan), "classes": torch.zeros(2).long()}, "finite"),
        ({"inputs": torch.zeros(2, 1, 8, 8), "classes": torch.zeros(3).long()}, "a class for each"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(host, tiny, tmp_path, tensors, sentence):
    path = tmp_path / "before"
    path.write_bytes(b"no" if tensors is None else save(tensors))
    run = host.start(made(host, "meta_knowledge", overrides={"synthetic.path": str(path)}), tiny)
    with pytest.raises(RecipeRefused, match=sentence):
        run.start()


# --- DynaFed ---------------------------------------------------------------------------------------------


@pytest.fixture
def trajectory(tiny):
    """Points on the way of twelve epochs on T."""
    network = NETWORK.build(tiny.card)
    fit = ddcore.Fit(None, 12, 16, lr=0.05, snapshots=6, optimiser=ddcore.plugin.Sgd(momentum=0.0, weight_decay=5e-4))
    run = ddcore.Host().start(ddcore.recipe("random", ipc=1), tiny)
    run.start()
    start = network.init(torch.Generator().manual_seed(5))[0]
    return [start, *run.gate.fit(ddcore.Draw(network, start, {}), fit)]


def test_the_server_distils_from_weights_alone(host, tiny, trajectory, tmp_path):
    server = Dynafed(
        overrides={"synthetic": {"ipc": 2}, "iterations": 40, "objective": {"steps": 3}},
        tuning=TrainOnUnion(Protocol(steps=60, lr=(3e-3,), repeats=1, augment=None)),
    )
    shared = server.distilled(trajectory, NETWORK, tiny.card, tmp_path, host)
    again = server.distilled(trajectory, NETWORK, tiny.card, tmp_path, host)
    assert torch.equal(shared.inputs, again.inputs)
    assert shared.targets.argmax(1).tolist() == [0, 0, 1, 1, 2, 2]
    assert not torch.isin(shared.targets, torch.tensor([0.0, 1.0])).any(), "labels are learned"
    assert shared.items == 60
    network = NETWORK.build(tiny.card)
    weights = trajectory[0]
    tuned = server.tuning.next_weights(weights, [shared], network, tiny.card, ddcore.Streams(0))
    test = ddcore.plugin.Preprocessed(tiny.test, ddcore.Standardise((0.4,), (0.3,)).start(tiny.card, dict))

    def accuracy(params):
        nets = {name: value[None] for name, value in params.items()}
        return float(ddcore.plugin.Accuracy()(ddcore.Draw(network, nets, {}, ensemble=1), test, 100))

    assert accuracy(tuned) > accuracy(weights) + 20, "noise has come to say what the weights have learned"


def test_a_step_is_at_two_points_of_the_way(host, tiny, trajectory, tmp_path):
    write_trajectory(tmp_path / "way", trajectory)
    recipe = host.recipe("dynafed", ipc=1, overrides={"policy.path": str(tmp_path / "way"), "policy.span": 2})
    run = host.start(replace(recipe, network=NETWORK), tiny)
    assert run.recipe.asks == frozenset()
    run.start()
    met = set()
    for _ in range(30):
        draw = run.recipe.policy.draw({}, run.synthetic, run.ctx)
        met.add(draw.age)
        assert all(torch.equal(draw.params[n], trajectory[draw.age][n]) for n in draw.params)
        assert all(torch.equal(draw.target[n], trajectory[draw.age + 2][n]) for n in draw.params)
    assert met == {0, 1, 2, 3, 4}


def test_what_asks_something_of_t_is_refused_at_the_server(host, tiny, trajectory, tmp_path):
    with pytest.raises(RecipeRefused, match="The server has no real data, but dm asks examples, features"):
        Dynafed(method="dm").distilled(trajectory, NETWORK, tiny.card, tmp_path, host)
    undeclared = replace(tiny.card, mean=None, std=None)
    with pytest.raises(RecipeRefused, match="asks statistics.*declare the numbers"):
        Dynafed().distilled(trajectory, NETWORK, undeclared, tmp_path, host)
    with pytest.raises(RecipeRefused, match="does not look at: take the policy trajectory"):
        Dynafed(overrides={"policy": {"name": "fresh"}}).distilled(trajectory, NETWORK, tiny.card, tmp_path, host)
    with pytest.raises(RecipeRefused, match="rounds = 0: it must be at least 1"):
        Dynafed(rounds=0)
    with pytest.raises(RecipeRefused, match="refined.rounds = 2: targets lie policy.span = 3"):
        Dynafed(2, overrides={"policy.span": 3}).recipe(tiny.card, host)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "names no trajectory"),
        ({"path": "nowhere"}, "policy.path names the trajectory"),
        ({"path": "way", "span": 7}, "has 7 points"),
        ({"path": "other"}, "policy.path names the trajectory of this network"),
    ],
)
def test_a_trajectory_that_is_none_is_refused(host, tiny, trajectory, tmp_path, monkeypatch, fields, sentence):
    monkeypatch.chdir(tmp_path)
    write_trajectory("way", trajectory)
    write_trajectory("other", [{"a": torch.zeros(1)}] * 20)
    recipe = replace(host.recipe("dynafed", ipc=1), network=NETWORK, policy=Trajectory(**fields))
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(recipe, tiny).run_until()
    with pytest.raises(RecipeRefused, match="span = 0: it must be at least 1"):
        Trajectory("way", span=0)


def test_privately_the_server_spends_nothing(host, tiny, trajectory, tmp_path):
    write_trajectory(tmp_path / "way", trajectory)
    recipe = host.recipe("dynafed", ipc=1, iterations=2, overrides={"policy.path": str(tmp_path / "way")})
    found = host.distill(replace(recipe, network=NETWORK, plugins={"private": {"epsilon": 1.0}}), tiny)
    assert (found.facts["privacy"]["requests"], found.facts["privacy"]["epsilon"]) == (0, 0.0)


def test_remembered_images_cost_and_resume_as_pixels_do(host, tiny):
    carrier = Remembered(2).build(tiny.card)
    assert carrier.nbytes() == ddcore.Pixels(2).build(tiny.card).nbytes()
    assert Remembered(2).asks == frozenset()
    assert Remembered(2, init="real").asks == {"examples"}
