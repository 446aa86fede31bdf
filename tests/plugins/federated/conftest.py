"""What the tests of federated learning share: three classes among three clients, and a host that knows the plugin."""

from dataclasses import dataclass, replace

import ddcore_federated
import pytest
import torch
from ddcore_federated.flower import InProcess, simulate

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
