"""Committees of networks, and error bars as measures."""

import pytest
import torch

from ddcore import RecipeRefused
from ddcore import plugin as dd
from ddcore.testing import check_measure, tiny_run, tiny_vectors


@pytest.mark.parametrize("values", [1, 2])
def test_a_committee_is_its_members_and_its_bars_are_their_deviation(values):
    data = tiny_vectors(values=values)
    training = tiny_run(dd.Random(6), method="random", data=data)
    plan = dd.MLP(width=4, depth=2)
    committees = dd.Committee(plan, members=3, steps=2).fitted_to(training, data.card, range(2), 0)
    protocol = dd.Protocol(steps=2, augment=None)
    single = dd.train(plan.ready(data.card), training, data.card, protocol, 2e-3, range(6), 0, torch.device("cpu"))
    test = data.test.take(torch.arange(7))
    each = single(test.inputs.expand(6, -1, -1), training=False).unflatten(0, (2, 3))
    found = committees(test.inputs.expand(2, -1, -1), training=False)
    torch.testing.assert_close(found, torch.cat([each.mean(1), each.std(1)], 2))
    items = dd.Preprocessed(data.test, dd.Identity().start(data.card, dict))
    everything = data.test.take(torch.arange(len(data.test)))
    each = single(everything.inputs.expand(6, -1, -1), training=False).unflatten(0, (2, 3)).double()
    off, bars = (each.mean(1) - everything.targets).abs(), each.std(1)
    close = {"atol": 1e-5, "rtol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(dd.RootError()(committees, items, 5), off.square().mean((1, 2)).sqrt(), **close)
    torch.testing.assert_close(dd.ErrorBar()(committees, items, 5), bars.mean((1, 2)), **close)
    assert float((dd.Coverage()(committees, items, 5) - 100 * (off <= bars).double().mean((1, 2))).abs().max()) < 1e-3
    assert (dd.Coverage()(single, items, 5) == 0).all() and (dd.ErrorBar()(single, items, 5) == 0).all()


@pytest.mark.parametrize("measure", [dd.RootError(), dd.ErrorBar(), dd.Coverage()], ids=lambda m: m.part_name())
def test_a_measure_of_values_is_held_to_the_contract_and_refuses_classes(measure):
    check_measure(measure)
    with pytest.raises(RecipeRefused, match="is for values, and the targets of tiny vectors are classes"):
        dd.Protocol(networks=(dd.MLP(),), measures=(measure,), augment=None).check(tiny_vectors())
