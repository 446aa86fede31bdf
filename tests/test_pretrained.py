"""A pretrained network under a fresh last layer, frozen or tuned."""

from dataclasses import dataclass, replace

import pytest
import torch

from ddcore import RecipeRefused
from ddcore import plugin as dd
from ddcore.testing import check_network, tiny_images


class Backbone(torch.nn.Module):
    """A module as its user has it: with features, a layer that features do not use, and BatchNorm."""

    def __init__(self):
        super().__init__()
        self.body, self.norm, self.old = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 9)

    def features(self, x):
        return self.norm(self.body(x)).relu().mean((2, 3))

    def forward(self, x):
        return self.old(self.features(x))[:, :3]


@dataclass(frozen=True)
class Own(dd.NetworkPlan):
    """A user's module."""

    def build(self, card):
        return dd.ModuleNetwork(Backbone)


def test_any_module_is_a_frozen_backbone_or_is_tuned():
    data = tiny_images()
    frozen = dd.Pretrained(Own())
    check_network(frozen)
    network, tuned = frozen.ready(data.card), replace(frozen, frozen=False).ready(data.card)
    one, other = (network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert {name: tuple(value.shape) for name, value in one[0].items()} == {"weight": (3, 4), "bias": (3,)}
    assert not torch.equal(one[0]["weight"], other[0]["weight"])
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())
    assert network.per_sample and not tuned.per_sample
    learned, held = tuned.init(torch.Generator().manual_seed(0))
    assert {"params.inner.body.weight", "params.inner.norm.weight", "weight", "bias"} <= learned.keys()
    assert "params.inner.old.weight" in held
    x = data.train.take(torch.arange(5)).inputs.float()
    draw = dd.Draw(network, *one)
    assert torch.equal(draw(x, training=True), draw(x, training=False))
    stacked = [{name: torch.stack([v, v]) for name, v in tensors.items()} for tensors in one]
    together = network(*stacked, torch.stack([x, x]), ensemble=2)
    torch.testing.assert_close(together[1], draw(x))


def test_weights_of_another_backbone_are_refused(tmp_path):
    card = tiny_images().card
    network = dd.ConvNet(width=4, depth=2)
    start = network.build(card).init(torch.Generator().manual_seed(5))
    draw = dd.Draw(network.build(card), *({n: v[None] for n, v in held.items()} for held in start), ensemble=1)
    path = dd.Pretrained.keep(tmp_path / "own.safetensors", draw)
    _, buffers = dd.Pretrained(network, path).build(card).init(torch.Generator())
    assert torch.equal(buffers["params.features.0.weight"], start[0]["features.0.weight"])
    with pytest.raises(RecipeRefused, match="holds the weights of another network than"):
        dd.Pretrained(dd.ConvNet(width=8, depth=2), path).build(card)
