"""Networks of many ages, and items that they are to recognise: each part against its formula, written slowly."""

import copy
from dataclasses import replace

import pytest
import torch

from ddcore import RecipeRefused
from ddcore.gate.fit import Fit
from ddcore.objectives.recognised import Recognised
from ddcore.policies.experts import Experts
from ddcore.policies.queue import Queue

FIT = Fit(steps=3, batch=8)


def run_of(host, small, data, method="dm", iterations=6, **fields):
    run = host.start(small(host.recipe(method, ipc=2, iterations=iterations), **{"augment": None, **fields}), data)
    run.start()
    return run


@pytest.mark.parametrize("expert", [False, True])
@pytest.mark.parametrize("room", [1, 1000])
def test_recognised_is_the_cross_entropy_of_s_at_the_judge(host, small, tiny, expert, room):
    run = run_of(host, small, tiny)
    ctx = run.ctx
    ctx.__dict__["room"] = room
    judge, other = ctx.fresh(), ctx.fresh()
    draw = replace(other, target=judge.params) if expert else replace(judge, target=other.params)
    pixels = run.synthetic.carrier.pixels
    (told,) = Recognised(0.7, expert=expert).accumulate(draw, run.synthetic, ctx)
    double = replace(judge, params={name: value.double() for name, value in judge.params.items()})
    leaf = pixels.detach().double().requires_grad_()
    slow = 0.0
    for c in range(3):
        slow = slow - 0.7 * sum(double(leaf[i][None])[0].log_softmax(0)[c] for i in (2 * c, 2 * c + 1)) / 2
    (gradient,) = torch.autograd.grad(slow, leaf)
    assert told == pytest.approx(float(slow.detach()), rel=1e-5)
    assert torch.allclose(pixels.grad.double(), gradient, rtol=1e-4, atol=1e-6)


def test_an_expert_judge_is_asked_for_where_none_is_given(host, small, tiny):
    with pytest.raises(RecipeRefused, match=r"recognised needs a network's later weights to aim at \(target\)"):
        host.start(replace(small(host.recipe("dm")), objective=Recognised(expert=True)), tiny)


@pytest.mark.parametrize("along", [0.0, 0.3, 1.0])
def test_a_network_lies_between_the_start_and_the_end_of_an_expert(host, small, tiny, along):
    experts = Experts(experts=1, fit=FIT, last=0, span=1)
    run = run_of(host, small, tiny, policy=replace(experts, along=along))
    ends = experts.draw({}, run.synthetic, run.ctx)
    shares = set()
    for _ in range(4):
        draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
        gap = {name: draw.target[name] - ends.params[name] for name in ends.params}
        share = sum(float(((draw.params[n] - ends.params[n]) * gap[n]).sum()) for n in gap)
        share /= sum(float(g.square().sum()) for g in gap.values())
        assert -1e-4 <= share <= along + 1e-4
        for name, start in ends.params.items():
            assert torch.allclose(draw.params[name], start + share * gap[name], atol=1e-5)
        shares.add(round(share, 3))
    assert len(shares) == (4 if along else 1)


def test_a_queue_grows_drops_its_oldest_and_trains_some_between_two_steps(host, small, tiny, monkeypatch):
    policy = Queue(networks=3, every=2, start=2, trained=1, fit=FIT)
    run = run_of(host, small, tiny, policy=policy)
    asked = []
    fit = run.gate.fit
    monkeypatch.setattr(run.gate, "fit", lambda draw, plan: asked.append(draw.age) or fit(draw, plan))
    lengths, first = [], None
    for _ in range(6):
        draw = policy.draw(run.policy, run.synthetic, run.ctx)
        first = first or run.policy["queue"][1]
        lengths.append(len(run.policy["queue"]))
        assert any(draw.params is member["params"] for member in run.policy["queue"])
    assert lengths == [2, 2, 3, 3, 3, 3]
    assert run.policy["queue"][0] is first, "the second of the start is the oldest, when two have joined"
    assert len(asked) == 5, "none before the first step"
    assert sum(member["age"] for member in run.policy["queue"]) <= 3 * len(asked)


def test_training_in_the_queue_is_the_gates_fit(host, small, tiny):
    policy = Queue(networks=1, start=1, trained=1, fit=FIT)
    run = run_of(host, small, tiny, policy=policy)
    first = policy.draw(run.policy, run.synthetic, run.ctx)
    state = copy.deepcopy(run.rng.state_dict())
    (wanted,) = run.gate.fit(first, FIT)
    run.rng.load_state_dict(state)
    second = policy.draw(run.policy, run.synthetic, run.ctx)
    assert (first.age, second.age) == (0, 3)
    assert all(torch.equal(second.params[name], value) for name, value in wanted.items())


@pytest.mark.parametrize(
    "policy",
    [
        Queue(networks=3, every=2, start=2, trained=1, fit=FIT),
        Experts(experts=2, fit=FIT, last=0, span=1, along=1.0),
    ],
    ids=["queue", "along"],
)
def test_a_run_goes_on_as_if_it_had_not_stopped(host, small, tiny, distilled_twice, policy):
    distilled_twice(small(host.recipe("dm", ipc=2, iterations=5), policy=policy), tiny)
