"""What the tests of federated learning share: three classes among three clients, and a host that knows the plugin."""

from dataclasses import dataclass, replace

import ddcore_federated
import pytest
import torch
from ddcore_federated import Server
from ddcore_federated.flower import InProcess, SyntheticUnion, simulate
from flwr.app import ConfigRecord

import ddcore

NET = ddcore.MLP(width=8)


@dataclass(frozen=True)
class Thirds:
    """Each of three clients has a third of the items; the first lacks class 2."""

    data: ddcore.RealData

    def __call__(self, partition, partitions):
        train = self.data.train
        rows = torch.arange(len(train))[partition::partitions]
        store = train.subset(rows[train.targets[rows] < 2] if partition == 0 else rows)
        return ddcore.RealData(replace(self.data.card, counts=store.counts), store, self.data.test)


@pytest.fixture
def thirds(tiny):
    return Thirds(tiny)


@pytest.fixture
def federated_host():
    return ddcore.Host({"federated": ddcore_federated})


@pytest.fixture
def quick(federated_host):
    """A recipe that takes no time."""

    def of(name="dm", **overrides):
        recipe = federated_host.recipe(name, ipc=1, iterations=2, overrides=overrides)
        network = ddcore_federated.Around(network=NET)
        if hasattr(recipe.objective, "real"):
            recipe = replace(recipe, objective=replace(recipe.objective, real=4))
        return replace(recipe, network=network)

    return of


@pytest.fixture
def in_process():
    """Runs ``server(grid)`` beside three clients; the grid may be changed first."""

    def run(server, app, clients=3):
        def served(grid):
            assert isinstance(grid, InProcess)
            return server(grid)

        return simulate(served, app, clients)

    return run


class Noting(Server):
    """Keeps what sets came, and adds one to each weight."""

    def __init__(self):
        object.__setattr__(self, "sets", [])

    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        self.sets.extend(sets)
        return {name: value + 1 for name, value in weights.items()}


@pytest.fixture
def union_of():
    """The strategy for items of ``card``, on a server that notes what comes."""
    return lambda card, server=None, ipc=1, **named: SyntheticUnion(card, NET, ipc, server or Noting(), **named)


@pytest.fixture
def one_round():
    def run(strategy, grid, number=1, arrays=None, timeout=None, **config):
        asked = strategy.configure_train(number, arrays or strategy.initial(), ConfigRecord(config), grid)
        return strategy.aggregate_train(number, grid.send_and_receive(asked, timeout=timeout))

    return run


@pytest.fixture
def refusal():
    """What the first client says that refuses what is asked of it."""

    def said(app, in_process, strategy, change=None):
        def server(grid):
            (message, *_) = strategy.configure_train(1, strategy.initial(), ConfigRecord(), grid)
            if change:
                change(message, grid)
            (reply,) = grid.send_and_receive([message])
            assert reply.has_error()
            return reply.error.reason

        return in_process(server, app)

    return said
