"""Schedules and optimisers: the rates of a training, and torch's optimisers as parts."""

import math
import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddcore.optimisers import Adam, AdamW, Sgd
from ddcore.schedules import PARTS, Constant, Cosine, Half, Thirds, Warm


def rates(schedule, steps, lr=1.0):
    return [schedule.rate(lr, step, steps) for step in range(steps)]


def test_the_rates_of_each_schedule():
    assert rates(Constant(), 3, 0.3) == [0.3] * 3
    assert rates(Cosine(), 4) == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    assert rates(Half(), 5) == [1, 1, 0.1, 0.1, 0.1]
    assert rates(Thirds(), 12) == pytest.approx([1.0] * 8 + [0.2] * 2 + [0.04] * 2)
    assert rates(Warm(), 8) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])


@pytest.mark.parametrize("steps", [1, 2, 7, 250])
@pytest.mark.parametrize("schedule", [cls() for cls in PARTS], ids=lambda schedule: schedule.part_name())
def test_no_rate_is_above_the_one_asked_for_or_below_zero(schedule, steps):
    assert all(0 <= rate <= 0.1 * (1 + 1e-9) for rate in rates(schedule, steps, 0.1))


def test_the_cosine_is_torch_s():
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CosineAnnealingLR(optimiser, 40)
        for step in range(40):
            assert Cosine().rate(0.3, step, 40) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
            optimiser.step()
            theirs.step()


@pytest.mark.parametrize("plan", [Sgd(momentum=0.9), Adam(), AdamW()], ids=lambda plan: plan.part_name())
def test_half_way_the_optimiser_begins_anew(plan):
    """Against one that is made anew, at a tenth of the rate."""

    def descend(weight, optimiser, steps):
        for _ in range(steps):
            optimiser.zero_grad()
            (weight.cos() * torch.tensor([1.0, 3.0])).sum().backward()
            optimiser.step()

    weight, twin = (torch.tensor([0.3, 0.5]).requires_grad_() for _ in range(2))
    optimiser = plan.build(([weight], 0.01))
    for step in range(6):
        Half().apply(optimiser, step, 6)
        descend(weight, optimiser, 1)
    descend(twin, plan.build(([twin], 0.01)), 3)
    descend(twin, plan.build(([twin], 0.001)), 3)
    assert torch.equal(weight, twin)


def test_each_group_keeps_its_own_rate():
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimiser = Sgd().build(([a], 1.0), ([b], 0.5))
    Cosine().apply(optimiser, 1, 2)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.5, 0.25])
    Cosine().apply(optimiser, 0, 2)
    assert [group["lr"] for group in optimiser.param_groups] == [1.0, 0.5]


def test_an_optimiser_has_the_numbers_of_its_part():
    weight = torch.zeros(1, requires_grad=True)
    for plan, kind in (
        (Sgd(0.3, 0.01), torch.optim.SGD),
        (Adam((0.5, 0.9)), torch.optim.Adam),
        (AdamW(), torch.optim.AdamW),
    ):
        made = plan.build(([weight], 0.1))
        assert type(made) is kind
        (group,) = made.param_groups
        assert all(group[name] == value for name, value in vars(plan).items())
    assert math.isclose(AdamW().weight_decay, 0.01)
