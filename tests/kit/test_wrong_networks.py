"""Wrong networks: each check can fail, and says what to do."""

import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from ddcore import plugin as dd
from ddcore import testing


class Layers(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.norm, self.head = nn.Linear(inputs, 8), nn.Identity(), nn.Linear(8, outputs)

    def features(self, x):
        return self.norm(self.hidden(x.flatten(1))).relu()

    def forward(self, x):
        return self.head(self.features(x))


class Normed(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.norm = nn.BatchNorm1d(8)


class Beside(Layers):
    def features(self, x):
        return self.hidden(x.flatten(1))


class BesideItself(Beside):
    def forward(self, x):
        return self.head(self.features(x).relu())


class Constant(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Boasting(dd.ModuleNetwork):
    """One that says per_sample by itself."""


@dataclass(frozen=True)
class Built(dd.NetworkPlan):
    """A network of some class."""

    def build(self, card):
        network, module = MODULE
        return network(lambda: module(torch.Size(card.shape).numel(), card.outputs))


MODULE = [dd.ModuleNetwork, Layers]


@pytest.mark.parametrize(
    ("network", "module", "sentence"),
    [
        (dd.ModuleNetwork, Layers, r"^$"),
        (dd.ModuleNetwork, Normed, r"^$"),
        (Boasting, Normed, r"built says per_sample and lets items of a batch see each other"),
        (dd.ModuleNetwork, BesideItself, r"built: its logits are not a last layer on its features"),
        (dd.ModuleNetwork, Constant, r"built starts the same under every seed"),
    ],
)
def test_a_wrong_network(network, module, sentence, monkeypatch, told):
    monkeypatch.setitem(globals(), "MODULE", [network, module])
    assert re.search(sentence, told(testing.check_network, Built()))
