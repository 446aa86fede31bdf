"""Trajectory matching, its experts and their buffers, hallucinators and their rival: against their formulas."""

import json
import math
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ddcore import (
    BadArtefact,
    Context,
    DistilledSet,
    Fit,
    LiveView,
    LossDiverged,
    ModuleNetwork,
    NetworkPlan,
    RealData,
    RecipeRefused,
    Standardise,
    Streams,
    Update,
    View,
)
from ddcore.carriers.hallucinator import Hallucinated
from ddcore.distance import likeness
from ddcore.labels.expert import Expert
from ddcore.labels.soft import Soft
from ddcore.objectives.base import Objective
from ddcore.objectives.combine import Sum
from ddcore.objectives.trajectory import TrajectoryMatch
from ddcore.optimisers import Adam, Sgd
from ddcore.plugin import ZCA, Experts
from ddcore.policies.experts import CARD
from ddcore.policies.rival import Rival
from ddcore.synthetic import SyntheticSet
from ddcore.types import DataCard

SHORT = Fit(steps=8, batch=6, lr=0.05, snapshots=4, optimiser=Sgd(momentum=0.0))
TWO = Experts(experts=2, fit=SHORT, last=2, span=2)


@pytest.fixture
def trajectory(host, small, tiny):
    """A run of a trajectory method, begun, with short experts."""

    def begin(name="mtt", iterations=4, policy=TWO, **fields):
        recipe = host.recipe(name, ipc=2, iterations=iterations)
        fields.setdefault("objective", TrajectoryMatch(steps=3))
        if name == "datm":
            fields.setdefault("labels", Soft(SHORT))
        run = host.start(small(recipe, policy=policy, **fields), tiny)
        run.start()
        return run

    return begin


# --- the objective ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shallow", [0.0, 0.4])
@pytest.mark.parametrize("memory", ["full", "exact"])
def test_the_loss_and_its_derivative_written_slowly(trajectory, memory, shallow):
    run = trajectory("datm", objective=TrajectoryMatch(steps=3, memory=memory, shallow=shallow), augment=None)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    draw = replace(
        draw, **{k: {n: v.double() for n, v in getattr(draw, k).items()} for k in ("params", "buffers", "target")}
    )
    run.synthetic.double()
    (loss,) = run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)
    synthetic = run.synthetic
    x, logits, log_lr = synthetic.carrier.pixels, synthetic.labels.logits, synthetic.log_step_size
    weights = {name: value.requires_grad_() for name, value in draw.params.items()}
    start = weights
    for _ in range(3):
        each = -(logits.softmax(1) * draw(x, weights).log_softmax(1)).sum(1)
        gradients = torch.autograd.grad(each.sum() / 6, list(weights.values()), create_graph=True)
        weights = {name: w - log_lr.exp() * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    start, weights, target = (
        torch.cat([held[name].flatten() for name in draw.params]) for held in (start, weights, draw.target)
    )
    matched = slice(int(shallow * len(target)), None)
    far = (start - target)[matched].square().sum()
    slow = (weights - target)[matched].square().sum() / far
    assert loss == pytest.approx(float(slow.detach()), rel=1e-10)
    for leaf, gradient in zip((x, logits, log_lr), torch.autograd.grad(slow, (x, logits, log_lr)), strict=True):
        assert float((leaf.grad - gradient).norm() / gradient.norm()) < 1e-9


def test_batches_pass_over_the_whole_set(trajectory, monkeypatch):
    run = trajectory(objective=TrajectoryMatch(steps=4, batch=3))
    sizes = []
    view = run.ctx.transform
    run.ctx = replace(run.ctx, transform=lambda n: sizes.append(n) or view(n))
    before = run.synthetic.carrier.pixels.detach().clone()
    run.update()
    assert sizes == [3, 3, 3, 3]
    assert (run.synthetic.carrier.pixels != before).flatten(1).any(1).all()


def test_a_loss_above_the_threshold_moves_nothing_and_is_told(trajectory):
    run = trajectory(objective=TrajectoryMatch(steps=3, threshold=1e-9))
    before = {name: value.clone() for name, value in run.synthetic.state_dict().items()}
    assert run.update() > 1e-9
    assert all(torch.equal(before[name], value) for name, value in run.synthetic.state_dict().items())
    assert run.step == 1


def test_it_needs_experts_and_a_step_size(host, small, tiny):
    mtt = small(host.recipe("mtt", iterations=1), policy=TWO)
    with pytest.raises(RecipeRefused, match="needs a network's later weights to aim at .*policy experts"):
        host.distill(replace(mtt, policy=host.recipe("dm").policy), tiny)
    with pytest.raises(RecipeRefused, match="Give the recipe a step_size"):
        host.start(replace(mtt, step_size=None, update=Update({"inputs": 1.0})), tiny)
    with pytest.raises(RecipeRefused, match="step_size = -0.1: it must be above 0"):
        host.start(replace(mtt, step_size=-0.1), tiny)


def test_the_step_size_stays_positive_and_stands_in_the_artefact(trajectory, tmp_path):
    run = trajectory(update=Update({"inputs": 0.01, "step_size": 0.5}, optimiser=Adam()), step_size=0.02)
    before = float(run.synthetic.log_step_size.detach())
    run.update()
    run.synthetic.log_step_size.grad = None
    moved = float(run.synthetic.log_step_size.detach()) - before
    assert abs(moved) > 0.02, "as far as would make a plain step size negative"
    distilled = run.export()
    assert distilled.step_sizes.tolist() == [pytest.approx(0.02 * math.exp(moved), rel=1e-5)]
    assert distilled.nbytes == 6 * (64 * 4 + 1) + 4
    path = distilled.save(tmp_path / "mtt.safetensors")
    assert torch.equal(DistilledSet.load(path).step_sizes, distilled.step_sizes)
    for sizes in (torch.tensor([-0.1]), torch.tensor([float("nan")]), torch.zeros(0)):
        with pytest.raises(BadArtefact, match="step.sizes"):
            DistilledSet.load(replace(distilled, tensors=replace(distilled.tensors, step_sizes=sizes)).save(path))


# --- experts ---------------------------------------------------------------------------------------------


def test_an_expert_goes_the_way_of_its_fit(trajectory):
    """Snapshot t + 1 is SGD from snapshot t on the batches of the expert's own stream."""
    run = trajectory()
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    way = next(iter(run.policy["experts"].values()))
    assert len(way) == 5
    assert any(all(torch.equal(draw.params[n], point[n]) for n in point) for point in way[:3])
    assert any(all(torch.equal(draw.target[n], point[n]) for n in point) for point in way[2:])
    number = int(next(iter(run.policy["experts"])))
    rng = Streams(number)
    params, _ = run.ctx.network.init(rng["nets"])
    store = run.gate.source.store
    for point in way[1:]:
        for _ in range(2):
            rows = store.draw(rng["real"], None, 6)
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            loss = F.cross_entropy(draw(run.preprocess(store.take(rows).inputs), leaves), store.targets[rows])
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            params = {n: v.detach() - 0.05 * g for (n, v), g in zip(leaves.items(), gradients, strict=True)}
        for name, value in params.items():
            assert torch.allclose(value, point[name], atol=1e-6)


def test_experts_are_trained_once_lazily_and_told(host, small, tiny):
    told = []
    recipe = small(host.recipe("mtt", iterations=12), policy=TWO, objective=TrajectoryMatch(steps=1))
    run = host.start(recipe, tiny, progress=lambda what, done, of: told.append((what, done, of)))
    assert not told
    run.run_until()
    assert [t for t in told if t[1] == 1] == [(f"training expert {n} of 2", 1, 8) for n in sorted_first(told)]
    assert len(told) == 16


def sorted_first(told):
    return [int(what.split()[2]) for what, done, _ in told if done == 1]


@pytest.mark.parametrize("name", ["mtt", "haba", "dance"])
def test_the_card_says_what_the_experts_reach_and_nothing_else_changes(host, small, tiny, name):
    """The mean accuracy of the experts' ends, here on all of T; what is drawn for it moves no draw of the run's."""
    policy = replace(TWO, judged=20)

    def distilled(policy):
        recipe = small(host.recipe(name, ipc=2, iterations=6))
        objective = {"objective": TrajectoryMatch(steps=1)} if name == "mtt" else {}
        run = host.start(replace(recipe, policy=Rival(policy) if name == "haba" else policy, **objective), tiny)
        run.run_until()
        return run, run.export()

    run, told = distilled(policy)
    _, quiet = distilled(replace(policy, judged=0))
    experts = run.policy.get("inner", run.policy)["experts"].values()
    items = run.preprocess(tiny.train.inputs.float() / 255)
    right = [(run.draw(items, way[-1]).argmax(1) == tiny.train.targets).float().mean() for way in experts]
    assert told.facts["experts_reach"] == pytest.approx(100 * float(sum(right)) / len(right), abs=0.06)
    assert "experts_reach" not in quiet.facts
    assert torch.equal(told.inputs, quiet.inputs)


def test_a_gate_that_guards_t_is_not_asked_what_the_experts_reach(host, small, tiny):
    recipe = small(host.recipe("mtt", iterations=3, overrides={"synthetic.init": "noise"}), policy=TWO)
    run = host.start(replace(recipe, plugins={"private": {"requests": 40}}), tiny)
    run.run_until()
    assert "features" in recipe.asks
    assert not run.trace.asked["features"]
    assert "experts_reach" not in run.export().facts


def test_the_window_grows(host, small, tiny):
    policy = Experts(experts=1, fit=SHORT, last=0, grown=2, growth=4, span=2)
    ages = []
    recipe = small(host.recipe("mtt", iterations=40), policy=policy, objective=TrajectoryMatch(steps=1))
    host.start(recipe, tiny, on_step=lambda run, _: ages.append(run.draw.age)).run_until()
    assert ages[0] == 0
    assert set(ages[1:3]) <= {0, 2}
    assert set(ages) == {0, 2, 4}


def test_noise_moves_the_start_alone(trajectory):
    quiet, loud = trajectory(), trajectory(policy=replace(TWO, noise=0.5))
    a, b = (run.recipe.policy.draw(run.policy, run.synthetic, run.ctx) for run in (quiet, loud))
    assert all(torch.equal(a.target[n], b.target[n]) for n in a.target)
    moved = torch.cat([(b.params[n] - a.params[n]).flatten() for n in a.params])
    assert 0.4 < float(moved.std()) < 0.6


def test_flat_fits_follow_the_surrogate_gap(trajectory, monkeypatch):
    """g_p at w + rho w^2 g / || |w| g ||, less gap times the part of g orthogonal to g_p."""
    run = trajectory()
    fit = Fit(steps=1, lr=1.0, rho=0.3, gap=0.4, optimiser=Sgd(momentum=0.0))
    draw = run.ctx.fresh()
    asked, batches = [], []

    def gradient(at, groups, loss):
        asked.append(at.params)
        batches.append(run.gate.source.store.draw(run.rng["real"], None, groups[0].size))
        return [{name: 0.1 * value + len(asked) for name, value in at.params.items()}]

    gate = run.gate.unwrapped
    monkeypatch.setattr(gate, "gradient", gradient)
    (end,) = gate.fit(draw, fit)
    assert torch.equal(*batches), "both gradients are of one batch"
    flat = torch.cat([v.flatten() for v in draw.params.values()]).double()
    g = 0.1 * flat + 1
    up = flat + 0.3 * flat**2 * g / (flat * g).norm()
    assert torch.allclose(torch.cat([v.flatten() for v in asked[1].values()]).double(), up, atol=1e-5)
    g_p = 0.1 * up + 2
    across = g - (g @ g_p) / (g_p @ g_p) * g_p
    found = torch.cat([v.flatten() for v in end.values()]).double()
    assert torch.allclose(found, flat - (g_p - 0.4 * across), atol=1e-4)


def test_more_than_an_expert_has_is_refused():
    with pytest.raises(RecipeRefused, match="reach snapshot 5, but an expert has 4"):
        Experts(fit=SHORT, last=3, span=2)
    with pytest.raises(RecipeRefused, match="reach snapshot 9"):
        Experts(fit=SHORT, last=1, grown=7, span=2)
    with pytest.raises(RecipeRefused, match="grown = 0: it must be at least first = 1"):
        Experts(fit=SHORT, first=1, last=2, grown=0, span=2)
    with pytest.raises(RecipeRefused, match="give rho with it"):
        Fit(gap=0.4)
    for wrong in ({"lr": float("nan")}, {"rho": -1.0}, {"steps": None, "epochs": float("nan")}):
        with pytest.raises(RecipeRefused, match=r"must be"):
            Fit(**wrong)
    with pytest.raises(RecipeRefused, match="fewer than its snapshots"):
        Fit(steps=3, snapshots=4).length(60)


# --- buffers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_a_buffer_is_shared_and_changes_nothing(trajectory, tmp_path, half):
    stored = replace(TWO, store=str(tmp_path), half=half)
    ends = []
    for policy in (TWO, stored, stored):
        run = trajectory(policy=policy)
        run.run_until()
        ends.append(run.export().inputs)
        if policy.store:
            assert "experts" not in run.policy
    (folder,) = tmp_path.iterdir()
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) == 2
    kept = load_file(files[0])
    assert all(value.dtype == (torch.float16 if half else torch.float32) for value in kept.values())
    assert torch.equal(ends[1], ends[2])
    assert torch.equal(ends[0], ends[1]) is not half
    assert torch.allclose(ends[0], ends[1], atol=0.3)


def test_finished_experts_are_not_trained_again(trajectory, tmp_path, monkeypatch):
    policy = replace(TWO, store=str(tmp_path))
    trajectory(policy=policy).run_until()
    run = trajectory(policy=policy)
    monkeypatch.setattr(type(run.gate), "fit", lambda *_: pytest.fail("trained again"))
    run.run_until()


def test_each_network_data_and_fit_has_a_buffer_of_its_own(trajectory, tmp_path, host, tiny):
    policy = replace(TWO, store=str(tmp_path))
    trajectory(policy=policy).update()
    trajectory(policy=replace(policy, seed=1)).update()
    trajectory(policy=replace(policy, fit=replace(SHORT, lr=0.1))).update()
    trajectory(policy=policy, preprocess=Standardise((0.1,), (0.2,))).update()
    other = replace(trajectory().recipe.network, width=8)
    trajectory(policy=policy, network=other).update()
    assert len(list(tmp_path.iterdir())) == 5


def test_a_buffer_made_otherwise_is_refused(trajectory, tmp_path):
    policy = replace(TWO, store=str(tmp_path))
    trajectory(policy=policy).update()
    (folder,) = tmp_path.iterdir()
    own = replace(policy, store=str(folder))
    trajectory(policy=own).update()
    wider = replace(trajectory().recipe.network, width=8)
    for fields, sentence in (
        ({"network": wider}, "another network"),
        ({"preprocess": Standardise((0.1,), (0.2,))}, "other data"),
        ({"policy": replace(own, fit=replace(SHORT, steps=12))}, "another fit"),
        ({"policy": replace(own, seed=4)}, "another seed"),
        ({"policy": replace(own, half=True)}, "another precision"),
    ):
        run = trajectory(**{"policy": own, **fields})
        with pytest.raises(RecipeRefused, match=sentence):
            run.update()
        assert not (tmp_path / "runs").exists()


def test_a_damaged_buffer_is_refused(trajectory, tmp_path):
    policy = replace(TWO, experts=1, store=str(tmp_path))
    trajectory(policy=policy).update()
    (folder,) = tmp_path.iterdir()
    (file,) = folder.glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(RecipeRefused, match="is not a whole safetensors file .* delete it"):
        trajectory(policy=policy).update()
    tensors = load_file_of(whole, tmp_path)
    save_file({name: value[:1] for name, value in tensors.items()}, file)
    with pytest.raises(RecipeRefused, match="of another network"):
        trajectory(policy=policy).update()
    (folder / CARD).write_text("{")
    with pytest.raises(RecipeRefused, match="damaged"):
        trajectory(policy=replace(policy, store=str(folder))).update()


def load_file_of(data, folder):
    path = folder / "whole.safetensors"
    path.write_bytes(data)
    return load_file(path)


def test_a_private_gates_experts_are_not_shared(host, small, tiny, tmp_path):
    recipe = small(
        host.recipe("mtt", iterations=2, overrides={"synthetic.init": "noise"}),
        policy=replace(TWO, store=str(tmp_path)),
    )
    run = host.start(replace(recipe, plugins={"private": {"requests": 40}}), tiny)
    with pytest.raises(RecipeRefused, match="leave store out"):
        run.run_until()
    assert not list(tmp_path.iterdir())


def test_a_run_killed_between_experts_resumes_bit_for_bit(trajectory, tmp_path):
    straight = trajectory(iterations=6)
    straight.run_until()
    first = trajectory(iterations=6)
    first.run_until(until=1)
    assert len(first.policy["experts"]) == 1
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = trajectory(iterations=6)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    second.run_until()
    assert torch.equal(second.export().inputs, straight.export().inputs)


# --- labels ----------------------------------------------------------------------------------------------


def test_soft_labels_start_as_the_teacher_says(trajectory):
    run = trajectory("datm")
    rows = run.synthetic.everything()[1]
    assert rows.shape == (6, 3)
    assert torch.allclose(rows.sum(1), torch.ones(6))
    assert rows.requires_grad
    fresh = Streams(run.recipe.seed)
    draw = Context(run.card, run.ctx.network, run.gate, fresh, run.device, run._view).fresh()
    with torch.no_grad():
        untrained = draw(run.synthetic.everything()[0]).softmax(1)
    assert not torch.allclose(rows, untrained, atol=1e-3)


def test_expert_labels_follow_each_steps_target(trajectory):
    run = trajectory(labels=Expert(temperature=2.0))
    run.update()
    with torch.no_grad():
        inputs = run.synthetic.carrier(torch.arange(6))
    run.synthetic.follow(run.draw)
    expected = (run.draw(inputs, run.draw.target) / 2).softmax(1)
    assert torch.allclose(run.synthetic.everything()[1], expected, atol=1e-6)
    assert run.export().targets.shape == (6, 3)
    assert run.export().nbytes == 6 * 64 * 4 + 6 * 3 * 4 + 4


def test_a_running_mean_comes_out_and_survives_a_stop(trajectory, tmp_path):
    recipe_update = {"lr": {"inputs": 5.0, "step_size": 0.1}, "ema": 0.5}
    run = trajectory("ftd")
    run = trajectory("ftd", update=replace(run.recipe.update, **recipe_update))
    seen, mean = [], None
    run.on_step = lambda run, _: seen.append(run.synthetic.carrier.pixels.detach().clone())
    run.run_until(until=2)
    torch.save(run.state_dict(), tmp_path / "state.pt")
    run.run_until()
    for pixels in seen:
        mean = pixels if mean is None else 0.5 * mean + 0.5 * pixels
    assert torch.allclose(run.export().inputs, mean, atol=1e-5)
    assert not torch.allclose(run.export().inputs, seen[-1], atol=1e-5)
    again = trajectory("ftd", update=run.recipe.update)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again.run_until()
    assert torch.equal(again.export().inputs, run.export().inputs)


# --- hallucinators ---------------------------------------------------------------------------------------

CARD8 = DataCard("made", (1, 8, 8), 3, (20, 20, 20))


def test_hallucinated_images_written_slowly(trajectory):
    module = Hallucinated(2, hallucinators=2, width=2).build(CARD8)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    images = module(torch.arange(len(module.classes)))
    i = 0
    for base in module.bases:
        for own in module.hallucinators:
            inner = F.conv2d(base[None], own.encoder, own.encoder_bias, padding=1)
            inner = F.interpolate(own.sigma * inner + own.mu, (8, 8), mode="bilinear")
            assert torch.allclose(F.conv2d(inner, own.decoder, own.decoder_bias, padding=1)[0], images[i], atol=1e-5)
            assert module.classes[i] == i // (len(module.bases) // 3 * 2)
            assert module.origin[i] == i // 2
            i += 1
    assert i == len(images)


@pytest.mark.parametrize("ipc", [1, 2, 10])
def test_bases_and_hallucinators_keep_within_the_bytes_of_ipc_images(ipc):
    plan = Hallucinated(ipc, hallucinators=2, width=1)
    module = plan.build(CARD8)
    budget = 4 * ipc * 3 * 64
    base = 4 * 3 * 16
    assert budget - base < module.nbytes() <= budget
    assert len(module.classes) == 2 * 3 * plan.bases(CARD8)
    assert {name: len(group) for name, group in module.groups().items()} == {"inputs": 1, "hallucinators": 12}


def test_hallucinators_that_leave_no_base_or_do_not_fit_are_refused(host, small, tiny):
    recipe = small(host.recipe("haba", ipc=1), policy=Rival(TWO))
    for plan, sentence in (
        (Hallucinated(1, width=8), "leave no base of 1x4x4 per class within 1 images per class"),
        (Hallucinated(2, scale=3), "take a synthetic.scale that divides both sides"),
        (Hallucinated(20, width=1), "more real images than the smallest class"),
    ):
        with pytest.raises(RecipeRefused, match=sentence):
            host.start(replace(recipe, synthetic=plan), tiny)
    with pytest.raises(RecipeRefused, match="hallucinators = 0: it must be at least 1"):
        Hallucinated(2, hallucinators=0)


def test_likeness_is_the_mean_cosine_of_pairs():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    origin = torch.tensor([0, 0, 0, 1, 2, 2])

    def cosine(i, j):
        return F.cosine_similarity(features[i], features[j], dim=0)

    slow = ((cosine(0, 1) + cosine(0, 2) + cosine(1, 2)) / 3 + cosine(4, 5)) / 2
    assert float(likeness(features, origin).detach()) == pytest.approx(float(slow.detach()), rel=1e-12)
    assert float(likeness(features, torch.arange(6)).detach()) == 0
    assert torch.autograd.gradcheck(lambda f: likeness(f, origin), features)


def haba(host, small, tiny, **fields):
    recipe = small(host.recipe("haba", ipc=2, iterations=3), policy=Rival(TWO, **fields))
    run = host.start(recipe, tiny)
    run.start()
    return run


def test_the_rival_is_trained_by_its_own_loss(host, small, tiny):
    run = haba(host, small, tiny, lr=0.1, alike=0.5)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    start = Context(run.card, run.ctx.network, run.gate, Streams(run.recipe.seed), run.device, run._view)
    fresh = start.fresh()
    with torch.no_grad():
        inputs, targets = run.synthetic.everything()
    leaves = {name: value.requires_grad_() for name, value in fresh.params.items()}
    loss = F.cross_entropy(draw(inputs, leaves), targets)
    loss = loss - 0.5 * likeness(draw(inputs, leaves, features=True), run.synthetic.carrier.origin)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    for (name, value), g in zip(leaves.items(), gradients, strict=True):
        assert torch.allclose(draw.rival[name], value.detach() - 0.1 * g, atol=1e-6)


def test_a_step_moves_bases_hallucinators_and_step_size_but_not_the_rival(host, small, tiny):
    run = haba(host, small, tiny)
    before = {name: value.clone() for name, value in run.synthetic.named_parameters()}
    run.update()
    rival = run.policy["params"]
    assert all((value != before[name]).any() for name, value in run.synthetic.named_parameters())
    assert all(not value.requires_grad for value in rival.values())


class Steps(Objective):
    """Yields its losses and does nothing else."""

    def __init__(self, *losses):
        object.__setattr__(self, "losses", losses)

    def accumulate(self, draw, synthetic, ctx):
        yield from self.losses


def test_a_sum_joins_steps_pairwise():
    both = Sum((Steps(1.0, 2.0, 3.0), Steps(10.0)))
    nothing = SyntheticSet(torch.nn.Module(), torch.nn.Module())
    assert list(both.accumulate(None, nothing, None)) == [11.0, 2.0, 3.0]
    with pytest.raises(RecipeRefused, match="at least one term"):
        Sum(())


def test_a_buffer_card_holds_no_data(trajectory, tmp_path):
    trajectory(policy=replace(TWO, store=str(tmp_path))).update()
    (folder,) = tmp_path.iterdir()
    card = json.loads((folder / CARD).read_text())
    assert set(card) == {"network", "data", "fit", "seed", "half"}
    assert len(card["data"]) == 64


def test_experts_are_not_shared_under_views(trajectory, tmp_path):
    @dataclass(frozen=True)
    class Dimmed(View):
        def build(self, store, rng):
            return Dim()

    class Dim(LiveView):
        def apply(self, batch, draw):
            return replace(batch, inputs=batch.inputs / 2)

    run = trajectory(policy=replace(TWO, store=str(tmp_path)), views=(Dimmed(),))
    with pytest.raises(RecipeRefused, match="or has views"):
        run.update()


def test_modules_of_one_print_have_buffers_of_their_own(trajectory, tmp_path):
    class Net(torch.nn.Module):
        def __init__(self, bend):
            super().__init__()
            self.hidden, self.head, self.bend = torch.nn.Linear(64, 8), torch.nn.Linear(8, 3), bend

        def features(self, x):
            return self.bend(self.hidden(x.flatten(1)))

        def forward(self, x):
            return self.head(self.features(x))

    @dataclass(frozen=True)
    class Mine(NetworkPlan):
        bend: str = "relu"

        def build(self, card):
            return ModuleNetwork(lambda: Net(getattr(torch, self.bend)))

    for bend in ("relu", "tanh", "relu"):
        trajectory(policy=replace(TWO, store=str(tmp_path)), network=Mine(bend)).update()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_mean_of_nothing_is_the_start(trajectory):
    run = trajectory("ftd")
    assert torch.equal(run.export().inputs, run.synthetic.carrier.pixels)
    with pytest.raises(RecipeRefused, match=r"ema = 1.5"):
        Update(ema=1.5)


def test_a_budget_spent_before_the_start_exports_nothing(host, small, tiny):
    recipe = small(host.recipe("datm", ipc=2, iterations=2, overrides={"synthetic.init": "noise"}), policy=TWO)
    recipe = replace(recipe, labels=Soft(SHORT), plugins={"private": {"requests": 3}})
    with pytest.raises(RecipeRefused, match="S did not get its first values"):
        host.distill(recipe, tiny)


def test_what_is_no_longer_finite_stops_the_run(trajectory):
    run = trajectory(update=Update({"inputs": 1.0, "step_size": 1e38}, optimiser=Sgd(momentum=0.0)))
    with pytest.raises(LossDiverged, match=r"is no longer finite|The loss of mtt"):
        run.run_until()


def test_clamping_is_refused_where_the_range_is_not_known(host, small, tiny):
    recipe = small(host.recipe("idc", ipc=1, iterations=1))
    with pytest.raises(RecipeRefused, match="mixes: set update.clamp = false"):
        host.start(replace(recipe, preprocess=ZCA()), tiny)
    batch = tiny.train.take(torch.arange(len(tiny.train)))
    floats = RealData.of("floats", (batch.inputs, batch.targets), None, mean=(0.4,), std=(0.3,))
    with pytest.raises(RecipeRefused, match="whose range is not known"):
        host.start(recipe, floats)
