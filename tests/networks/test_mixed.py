"""Networks whose parameters have the same shapes are trained side by side, each as it would be alone."""

from dataclasses import replace

import pytest
import torch

import ddcore
from ddcore import RecipeRefused
from ddcore import plugin as dd
from ddcore.networks.checked import Checked

CARD = ddcore.DataCard("noise", (1, 16, 16), 3, (8, 8, 8))
PLANS = [
    dd.ConvNet(width=8, depth=2, activation="relu", norm="instance", pooling="avg"),
    dd.ConvNet(width=8, depth=2, activation="sigmoid", norm="group", pooling="max"),
    dd.ConvNet(width=8, depth=2, activation="relu", norm="layer", pooling="avg"),
]
BATCHED = [replace(plan, norm="batch") for plan in PLANS]


@pytest.fixture(scope="module")
def noise():
    x = torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return dd.Preprocessed(dd.Store.of(x, torch.arange(24) % 3, 3), dd.Identity().load({}))


def trained(network, numbers, noise):
    protocol = ddcore.Protocol(steps=5, batch=8, augment=None, optimiser=dd.Sgd())
    return dd.train(network, noise, CARD, protocol, 0.1, numbers, 0, torch.device("cpu"))


@pytest.mark.parametrize("plans", [PLANS, BATCHED], ids=["items by themselves", "batch norm"])
def test_each_net_of_a_mixed_ensemble_is_what_it_would_be_alone(plans, noise):
    networks = [plan.ready(CARD) for plan in plans]
    nets = [(network, number) for network in networks for number in (0, 3)]
    together = trained(dd.mixed([network for network, _ in nets]), [number for _, number in nets], noise)
    x = noise.take(torch.arange(24))[0]
    answers = together(x.expand(len(nets), *x.shape), training=False)
    for i, (network, number) in enumerate(nets):
        alone = trained(network, [number], noise)
        for kind in ("params", "buffers"):
            for name, value in getattr(alone, kind).items():
                assert torch.allclose(getattr(together, kind)[name][i], value[0], atol=1e-5), (i, name)
        assert torch.allclose(answers[i], alone(x[None], training=False)[0], atol=1e-4)


def test_residual_networks_are_mixed_too():
    networks = [dd.ResNet18(norm=norm).build(CARD) for norm in ("instance", "group")]
    ensemble = dd.mixed(networks)
    starts = [network.init(torch.Generator().manual_seed(i)) for i, network in enumerate(networks)]
    params = {name: torch.stack([start[name] for start, _ in starts]) for name in starts[0][0]}
    x = torch.randn(2, 4, 1, 16, 16, generator=torch.Generator().manual_seed(9))
    answers = ensemble(params, {}, x, ensemble=2)
    for network, (start, _), own, answer in zip(networks, starts, x, answers, strict=True):
        assert torch.allclose(answer, network(start, {}, own), atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        dd.ConvNet(width=4, depth=2),
        dd.ConvNet(width=8, depth=3),
        dd.ConvNet(width=8, depth=2, pooling="none"),
        dd.ConvNet(width=8, depth=2, norm="batch"),
        dd.ConvNet(width=8, depth=2, norm="none"),
        dd.MLP(width=8),
    ],
)
def test_others_are_told_apart_by_their_outline_and_refused(other):
    networks = [PLANS[0].ready(CARD), other.ready(CARD)]
    assert dd.outline(networks[0]) == dd.outline(PLANS[1].ready(CARD))
    assert dd.outline(networks[0]) != dd.outline(networks[1])
    with pytest.raises(RecipeRefused, match="train each outline by itself"):
        dd.mixed(networks)


def test_a_module_has_no_outline():
    network = dd.ModuleNetwork(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)))
    assert dd.outline(Checked(network)) is None
    assert dd.mixed([network, network]) is network
