"""Networks with dropout: their randomness has a seed, in training, in distilling and over a stop."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import ddcore
from ddcore import ModuleNetwork, NetworkPlan, Protocol
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.networks.seeded import seeded
from ddcore.preprocess import Standardise


class Dropping(nn.Module):
    def __init__(self, inputs: int, classes: int, share: float) -> None:
        super().__init__()
        self.hidden, self.drop, self.head = nn.Linear(inputs, 12), nn.Dropout(share), nn.Linear(12, classes)

    def features(self, x):
        return self.drop(self.hidden(x.flatten(1)).relu())

    def forward(self, x):
        return self.head(self.features(x))


@dataclass(frozen=True)
class Dropped(NetworkPlan):
    share: float = 0.5

    def build(self, card):
        return ModuleNetwork(lambda: Dropping(64, card.classes, self.share))


class Noisy(nn.Module):
    """Draws random numbers in a way that nobody can see from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        x = x.flatten(1)
        return self.head(x + torch.randn_like(x)) if self.training else self.head(x)


@pytest.fixture
def training(tiny):
    return Preprocessed(tiny.train, Standardise().start(tiny.card, dict))


PROTOCOL = Protocol(steps=6, batch=16, networks=(Dropped(),), repeats=2)


def nets_of(numbers, network, training, tiny, **fields):
    given = (network, training, tiny.card, PROTOCOL, 2e-3, numbers, 5, torch.device("cpu"))
    return train(*given, **fields).params[
        "head.weight" if "head.weight" in network.init(torch.Generator())[0] else "inner.head.weight"
    ]


@pytest.mark.parametrize("network", [ModuleNetwork(lambda: Dropping(64, 3, 0.5)), ModuleNetwork(Noisy, random=True)])
def test_two_nets_side_by_side_equal_each_alone_and_equal_numbers_make_equal_nets(network, training, tiny):
    assert network.stochastic
    together = nets_of([0, 3], network, training, tiny)
    torch.manual_seed(77)  # whatever the global generator holds
    alone = [nets_of([i], network, training, tiny)[0] for i in (0, 3)]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)
    assert not torch.allclose(together[0], together[1])
    twice = nets_of([0, 0], network, training, tiny)
    assert torch.equal(twice[0], twice[1])
    assert torch.allclose(twice[0], alone[0], atol=1e-6)


def test_equal_numbers_make_equal_nets_without_dropout_too(training, tiny):
    network = ddcore.ConvNet(width=4, depth=2).build(tiny.card)
    given = (network, training, tiny.card, PROTOCOL, 2e-3, [0, 0], 5, torch.device("cpu"))
    weights = train(*given).params["head.weight"]
    assert torch.allclose(weights[0], weights[1], atol=1e-6)


def test_dropout_is_found_and_what_does_not_drop_is_left_alone(tiny):
    assert not ModuleNetwork(lambda: Dropping(64, 3, 0.0)).stochastic
    assert not ModuleNetwork(Noisy).stochastic
    assert ModuleNetwork(lambda: nn.LSTM(4, 4, 2, dropout=0.2)).stochastic
    plain = ddcore.ConvNet(width=4, depth=2).build(tiny.card)
    assert seeded(plain, torch.Generator()) is plain


def test_a_seeded_network_draws_from_its_generator_alone():
    network = ModuleNetwork(lambda: Dropping(64, 3, 0.5))
    params, buffers = network.init(torch.Generator().manual_seed(0))
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def answers(seed):
        own = seeded(network, torch.Generator().manual_seed(seed))
        return torch.stack([own(params, buffers, x) for _ in range(2)])

    before = torch.random.get_rng_state()
    one, again, other = answers(0), answers(0), answers(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    quiet = seeded(network, torch.Generator())
    assert torch.equal(quiet(params, buffers, x, training=False), network(params, buffers, x, training=False))


@pytest.mark.parametrize(
    ("method", "overrides"), [("dm", {"objective.real": 4}), ("dc", {"objective.real": 4}), ("dd", {})]
)
def test_a_run_is_repeated_and_resumed_bit_for_bit(method, overrides, host, tiny):
    recipe = replace(host.recipe(method, iterations=4, overrides=overrides), network=Dropped(), augment=None)
    torch.manual_seed(1)
    straight = host.start(recipe, tiny)
    straight.run_until(until=2)
    state = copy.deepcopy(straight.state_dict())
    straight.run_until()
    torch.manual_seed(2)
    resumed = host.start(recipe, tiny)
    resumed.load_state_dict(state)
    resumed.run_until()
    assert torch.equal(straight.export().inputs, resumed.export().inputs)


def test_the_way_back_through_the_steps_drops_what_the_way_there_dropped(host, tiny):
    """Of a network with dropout the exact derivative at flat memory equals that of one graph over all steps."""
    moved = []
    for memory in ("exact", "full"):
        recipe = host.recipe("dd", iterations=1, overrides={"objective.memory": memory, "objective.steps": 3})
        run = host.start(replace(recipe, network=Dropped(), augment=None), tiny)
        run.start()
        start = run.synthetic.everything()[0].detach().clone()
        run.update()
        moved.append(run.synthetic.everything()[0].detach() - start)
    assert moved[0].abs().max() > 0
    assert torch.allclose(moved[0], moved[1], atol=1e-5)


def test_evaluation_is_seeded(training, tiny):
    one, two = (ddcore.evaluate(tiny.train, tiny, PROTOCOL, seed=3) for _ in range(2))
    assert one == two
