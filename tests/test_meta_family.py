"""Meta-learning: back-propagation through training, against its formula written slowly, as one graph."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import ddcore
from ddcore import DistilledSet, RecipeRefused
from ddcore.carriers.shared_bases import SharedBases
from ddcore.errors import BadArtefact
from ddcore.evaluation.scores import evaluate
from ddcore.objectives.bptt import Bptt
from ddcore.objectives.student import Student
from ddcore.optimisers import Sgd
from ddcore.rng import Streams
from ddcore.types import DataCard, Group
from ddcore.update import Update

DIGITS = DataCard("digits", (1, 16, 16), 10, (100,) * 10)


@pytest.fixture
def meta(host, small, tiny):
    """A started run of dd on the tiny data, with the objective given."""

    def make(objective, step_size=0.1, ipc=2, name="dd", **fields):
        recipe = host.recipe(name, ipc=ipc, iterations=4)
        rates = {"inputs": 1.0} if step_size is None else {"inputs": 1.0, "step_size": 1.0}
        fields = {"update": Update(rates, optimiser=Sgd(momentum=0.0)), "augment": None, **fields}
        run = host.start(replace(small(recipe), objective=objective, step_size=step_size, **fields), tiny)
        run.start()
        return run

    return make


def slow(run, objective, steps, points):
    """dL/dx and dL/d(log step sizes) by one graph: every step written out, T's loss on all items at ``points``."""
    card, store = run.card, run.gate.source.store
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    real = run.preprocess(store.take(torch.arange(len(store))).inputs)
    weights = {name: value.clone().requires_grad_() for name, value in draw.params.items()}
    velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    x, logs = run.synthetic.carrier.pixels, run.synthetic.log_step_size
    ipc, total = len(x) // card.classes, 0.0
    for i in range(steps):
        rows = [c * ipc + i % ipc for c in range(card.classes)] if objective.ordered else list(range(len(x)))
        rate = objective.lr if logs is None else (logs.exp() if logs.ndim == 0 else logs[i].exp())
        out = draw(x[rows], weights)
        loss = -out.log_softmax(1)[range(len(rows)), run.synthetic.carrier.classes[rows]].mean()
        found = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        for (name, w), g in zip(list(weights.items()), found, strict=True):
            velocity[name] = objective.momentum * velocity[name] + g
            weights[name] = w - rate * velocity[name]
        if i + 1 in points:
            total = total + F.cross_entropy(draw(real, weights), store.targets) / len(points)
    leaves = [x] if logs is None else [x, logs]
    return torch.autograd.grad(total, leaves)


@pytest.mark.parametrize(
    ("objective", "step_size", "points"),
    [
        (Bptt(steps=5, real=60), 0.1, [5]),
        (Bptt(steps=6, real=60, each=True, ordered=True), 0.1, [6]),
        (Bptt(steps=6, real=60, lr=0.1, momentum=0.8), None, [6]),
        (Bptt(steps=6, real=60, each=True, momentum=0.5, checks=3), 0.1, [2, 4, 6]),
        (Bptt(steps=4, real=60, memory="full"), 0.1, [4]),
    ],
)
def test_the_gradient_is_that_of_the_whole_training(meta, objective, step_size, points):
    run, twin = (meta(objective, step_size) for _ in range(2))
    wanted = slow(twin, objective, objective.steps, points)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    (told,) = objective.accumulate(draw, run.synthetic, run.ctx)
    assert told > 0
    leaves = [run.synthetic.carrier.pixels]
    leaves += [] if step_size is None else [run.synthetic.log_step_size]
    for leaf, expected in zip(leaves, wanted, strict=True):
        assert float(expected.abs().max()) > 1e-7
        assert torch.allclose(leaf.grad, expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max() + 1))


def test_a_window_ends_anywhere_and_goes_back_only_so_far(meta, monkeypatch):
    objective = Bptt(steps=12, window=3, real=60, lr=0.1)
    run = meta(objective, None)
    ways = []
    trained = Student.trained
    monkeypatch.setattr(Student, "trained", lambda *args: ways.append(trained(*args)) or ways[-1])
    for _ in range(40):
        draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
        list(objective.accumulate(draw, run.synthetic, run.ctx))
    ends = {max(way.points) for way in ways}
    assert ends <= set(range(3, 13)) and len(ends) > 5
    assert all(max(way.points) - min(way.points) == 3 for way in ways)


def test_order_goes_round_class_by_class_and_stands_in_the_artefact(meta, tmp_path):
    run = meta(Bptt(steps=5, batch=3, real=60, each=True, ordered=True))
    run.run_until(until=1)
    distilled = run.export()
    assert distilled.order.tolist() == [[0, 2, 4], [1, 3, 5], [0, 2, 4], [1, 3, 5], [0, 2, 4]]
    assert distilled.step_sizes.shape == (5,)
    assert len(distilled.step_sizes.unique()) > 1
    path = distilled.save(tmp_path / "dd.safetensors")
    again = DistilledSet.load(path)
    assert torch.equal(again.order, distilled.order)
    for order, why in (
        (torch.full((5, 3), 6), "names items that are not among its 6"),
        (torch.zeros(5, dtype=torch.int64), "not one row of items per step"),
        (torch.zeros(4, 3, dtype=torch.int64), "4 steps in order and 5 step sizes"),
    ):
        with pytest.raises(BadArtefact, match=why):
            DistilledSet.load(replace(distilled, tensors=replace(distilled.tensors, order=order)).save(path))


def test_tasks_come_one_after_another_each_for_its_share_of_the_steps(meta):
    run = meta(Bptt(steps=5, batch=2, real=60, each=True, ordered=True, tasks=2))
    run.start()
    assert run.synthetic.carrier.classes.tolist() == [0, 0, 1, 1, 2, 2]
    assert run.export().order.tolist() == [[0, 2], [1, 3], [4, 5], [4, 5], [4, 5]]
    many = meta(Bptt(steps=5, real=60, each=True, ordered=True, tasks=4))
    many.start()
    with pytest.raises(RecipeRefused, match="tasks = 4, but S has 3 classes"):
        many.update()


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_dd_protocol_replays_the_steps_as_they_were_learned(meta, tiny, momentum):
    run = meta(Bptt(steps=4, batch=3, real=60, each=True, ordered=True, momentum=momentum))
    distilled = run.export()
    rates = torch.tensor([0.3, 0.2, 0.1, 0.05])
    distilled = replace(distilled, tensors=replace(distilled.tensors, step_sizes=rates))
    assert distilled.momentum == momentum
    protocol = ddcore.protocol("dd", repeats=2, networks=(run.recipe.network,))
    score = evaluate(distilled, tiny, run.preprocess, protocol, seed=5)["accuracy"]["convnet"]
    values = []
    for i in range(2):
        params, buffers = run.ctx.network.init(Streams(5)[f"net/{i}"])
        velocity = {name: torch.zeros_like(value) for name, value in params.items()}
        for rows, rate in zip(distilled.order, distilled.step_sizes, strict=True):
            params = {name: value.detach().requires_grad_() for name, value in params.items()}
            out = run.ctx.network(params, buffers, distilled.inputs[rows])
            found = torch.autograd.grad(F.cross_entropy(out, distilled.targets[rows]), list(params.values()))
            velocity = {n: momentum * m + g for (n, m), g in zip(velocity.items(), found, strict=True)}
            params = {name: w - rate * velocity[name] for name, w in params.items()}
        test = tiny.test
        out = run.ctx.network(params, buffers, run.preprocess(test.take(torch.arange(len(test))).inputs))
        values.append(100 * float((out.argmax(1) == test.targets).float().mean()))
    assert score.values == pytest.approx(values, abs=1e-3)
    assert score.lr == pytest.approx(0.1625)


def test_a_fixed_step_size_is_replayed_too_and_a_single_step_may_have_its_own(meta):
    fixed = meta(Bptt(steps=4, lr=0.3, real=60, ordered=True), None).export()
    assert fixed.step_sizes.tolist() == pytest.approx([0.3] * 4)
    single = meta(Bptt(steps=1, real=60, each=True, ordered=True))
    single.run_until(until=1)
    assert single.export().order.shape == (1, 3)


def test_a_set_without_an_order_is_trained_as_usual_under_dd(meta, tiny, host, small):
    plain = host.distill(small(host.recipe("random")), tiny)
    protocol = ddcore.protocol("dd", repeats=1, networks=(small(host.recipe("random")).network,))
    run = meta(Bptt(steps=4, batch=3, real=60, each=True, ordered=True))
    assert 0 <= evaluate(plain, tiny, run.preprocess, protocol)["accuracy"]["convnet"].mean <= 100


def test_bptt_refuses_in_a_sentence():
    for fields, why in (
        ({"steps": 0}, "steps = 0: it must be at least 1"),
        ({"momentum": 1.0}, "momentum = 1.0: it must be at least 0 and below 1"),
        ({"lr": 0.1, "each": True}, "each is for step sizes that S learns"),
        ({"lr": -0.1}, "lr = -0.1: it must be above 0"),
        ({"lr": float("nan")}, "lr = nan: it must be a number and above 0"),
        ({"batch": 0}, "batch = 0: it must be at least 1"),
        ({"checks": 16}, "checks = 16: it must be at most the steps"),
        ({"window": 16}, "window = 16: it must be at most steps = 15"),
        ({"memory": "tesla"}, 'take "exact"'),
        ({"tasks": 2}, "so S must be ordered"),
        ({"tasks": 16, "ordered": True}, "tasks = 16: it must be at most steps = 15"),
    ):
        with pytest.raises(RecipeRefused, match=why):
            Bptt(**fields)


def test_a_step_size_that_nothing_trains_at_is_refused(host, small, tiny):
    with pytest.raises(RecipeRefused, match="rtp does not train at it"):
        host.start(replace(small(host.recipe("rtp", ipc=2)), step_size=0.1), tiny)


def test_a_memory_keeps_the_bytes_of_its_budget():
    """n = (ipc k h w c - bases h w c / scale^2) / (k bases) images a class; 115 of one CIFAR-10 image each."""
    cifar = DataCard("cifar10", (3, 32, 32), 10, (5000,) * 10)
    assert SharedBases(1, bases=16, scale=2).images(cifar) == 115
    memory = SharedBases(1, bases=16).build(DIGITS)
    assert memory.nbytes() <= 4 * 2560 < memory.nbytes() + 4 * 16 * 10
    assert len(memory.classes) == 10 * ((2560 - 1024) // 160)


@pytest.mark.parametrize("ipc", [1, 2, 10, 20])
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 16, 16), (3, 32, 32), (1, 8, 8)])
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_the_bases_of_rtp_grow_with_its_bytes_and_leave_none_over(host, ipc, shape, classes):
    card = DataCard("made", shape, classes, (6000,) * classes)
    plan, size = host.recipe("rtp", ipc=ipc).synthetic, math.prod(shape) // 4
    memory, budget = plan.build(card), 4 * ipc * classes * math.prod(shape)
    assert memory.nbytes() <= budget
    assert memory.nbytes() > budget - 4 * classes * len(memory.bases) or memory.versions == plan.most
    assert len(memory.bases) == min(12 * ipc, 12 * ipc * classes // 10, size), "more would span nothing new"
    assert len(replace(plan, ipc=1, coarse=8).build(card).bases) == len(replace(plan, ipc=4).build(card).bases)


def test_a_memory_reads_sums_of_its_bases():
    memory = SharedBases(1, bases=4).build(DIGITS)
    for p in memory.parameters():
        torch.nn.init.normal_(p)
    index = torch.tensor([3, 70, 7])
    each = torch.stack([sum(memory.addresses[i, b] * memory.bases[b] for b in range(4)) for i in index.tolist()])
    assert torch.allclose(memory(index), F.interpolate(each, (16, 16), mode="bilinear"), atol=1e-5)


def test_a_memory_starts_as_the_best_approximation_of_real_images(host, tiny):
    card = replace(tiny.card, counts=(20,) * 3)
    plan = SharedBases(4, bases=6, scale=1, init="real")
    assert plan.asks == {"examples"}
    recipe = replace(host.recipe("rtp", ipc=4), synthetic=plan)
    run = host.start(recipe, tiny)
    run.start()
    carrier = run.synthetic.carrier
    n = plan.images(card)
    made = carrier(torch.arange(3 * n)).detach().flatten(1)
    singular = torch.linalg.svdvals(made)
    assert int((singular > 1e-3 * singular[0]).sum()) == 6
    twin = host.start(recipe, tiny)
    twin._preprocess(twin.recipe.preprocess.start(twin.card, twin.gate.statistics))
    batches = twin.gate.examples([Group((c,), n) for c in range(3)])
    real = torch.cat([b.inputs[torch.arange(n) % len(b)] for b in batches]).flatten(1)
    left, values, right = torch.linalg.svd(real, full_matrices=False)
    best = (left[:, :6] * values[:6]) @ right[:6]
    assert torch.allclose(made, best, atol=1e-4)


def test_a_memory_that_does_not_fit_is_refused(host, small, tiny):
    for overrides, why in (
        ({"synthetic.bases": 40}, "a smaller decoder"),
        ({"synthetic.scale": 3}, "divides both sides"),
        ({"synthetic.bases": 0}, "must be at least 1"),
    ):
        with pytest.raises(RecipeRefused, match=why):
            host.start(small(host.recipe("rtp", ipc=1, overrides=overrides)), tiny)
