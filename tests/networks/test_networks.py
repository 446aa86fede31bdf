"""Networks as pure functions: against ordinary modules, stacked, and differentiated twice."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from ddcore import ModuleNetwork, RecipeRefused
from ddcore.memory import activation_floats, items_a_chunk
from ddcore.networks.alexnet import AlexNet
from ddcore.networks.convnet import ConvNet
from ddcore.networks.lenet import LeNet
from ddcore.networks.mlp import MLP
from ddcore.networks.resnet import ResNet18
from ddcore.networks.vgg import VGG11
from ddcore.types import DataCard, Draw

PLANS = [
    *(ConvNet(width=6, depth=2, norm=norm) for norm in ("none", "layer", "instance", "batch")),
    ConvNet(width=8, depth=2, norm="group", activation="swish", pooling="max"),
    ConvNet(width=4, depth=1, activation="leaky_relu", pooling="none"),
    ConvNet(width=4, depth=1, activation="sigmoid"),
    MLP(width=16),
    LeNet(),
    AlexNet(),
    VGG11(),
    ResNet18(),
    ResNet18(norm="batch"),
]


def card(channels, side, classes=10):
    return DataCard("made", (channels, side, side), classes, (1,) * classes)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def double(values):
    return {name: value.double() for name, value in values.items()}


def test_the_convnet_of_the_field():
    params, buffers = ConvNet().build(card(3, 32)).init(seeded())
    assert sum(value.numel() for value in params.values()) == 320_010
    assert buffers == {}
    assert ConvNet().fitted(card(1, 16)) == ConvNet(width=32, depth=3)
    assert [ConvNet().fitted(card(3, side)).depth for side in (32, 64, 128)] == [3, 4, 5]


def test_grey_images_of_28_are_padded_to_32():
    network = ConvNet(width=5).build(card(1, 28))
    params, buffers = network.init(seeded())
    assert network(params, buffers, torch.rand(2, 1, 28, 28), features=True).shape == (2, 5 * 4 * 4)


def test_convnet_agrees_with_an_ordinary_module():
    network = ConvNet(width=7, depth=2).build(card(3, 12, classes=4))
    params, _ = network.init(seeded())
    layers, channels = [], 3
    for _ in range(2):
        layers += [nn.Conv2d(channels, 7, 3, padding=1), nn.GroupNorm(7, 7), nn.ReLU(), nn.AvgPool2d(2)]
        channels = 7
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(7 * 3 * 3, 4)).double()
    own = dict(zip((name for name, _ in module.named_parameters()), double(params).values(), strict=True))
    x = torch.randn(5, 3, 12, 12, generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(network(double(params), {}, x), functional_call(module, own, (x,)), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 16), (3, 16)], ids=str)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_an_ensemble_is_its_nets(plan, shape):
    network = plan.build(card(*shape))
    starts = [network.init(seeded(i)) for i in range(2)]
    stack = [{name: torch.stack([s[k][name] for s in starts]).double() for name in starts[0][k]} for k in (0, 1)]
    x = torch.randn(2, 3, shape[0], shape[1], shape[1], generator=seeded(9), dtype=torch.float64)
    for features in (False, True):
        buffers = {name: value.clone() for name, value in stack[1].items()}
        together = network(stack[0], buffers, x, features=features, ensemble=2)
        for i, (params, own) in enumerate(starts):
            alone = network(double(params), double(own), x[i], features=features)
            assert torch.allclose(together[i], alone, atol=1e-10)
    assert network.per_sample == (getattr(plan, "norm", "none") != "batch")


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("shape", [(1, 28), (3, 32)], ids=str)
def test_every_network_gives_one_row_of_logits_an_item(plan, shape):
    network = plan.build(card(*shape))
    params, buffers = network.init(seeded())
    logits = network(params, buffers, torch.randn(2, shape[0], shape[1], shape[1], generator=seeded(1)))
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits[0], logits[1])


def test_per_sample_gradients_by_functorch_equal_a_loop():
    network = ConvNet(width=4, depth=2).build(card(1, 8, classes=3))
    params = double(network.init(seeded())[0])
    x = torch.randn(5, 1, 8, 8, generator=seeded(1), dtype=torch.float64)

    def loss(params, x):
        return network(params, {}, x[None]).logsumexp(1)[0]

    together = vmap(grad(loss), in_dims=(None, 0))(params, x)
    for i in range(5):
        for name, value in grad(loss)(params, x[i]).items():
            assert torch.allclose(together[name][i], value, atol=1e-12)


def test_second_derivatives_exist_and_are_right():
    network = ConvNet(width=3, depth=1, activation="swish").build(card(1, 4, classes=2))
    params = double(network.init(seeded())[0])
    weight = params["features.0.weight"].requires_grad_()
    x = torch.randn(2, 1, 4, 4, generator=seeded(1), dtype=torch.float64)
    assert torch.autograd.gradgradcheck(
        lambda w: network({**params, "features.0.weight": w}, {}, x).square().sum(), weight
    )


def test_init_draws_from_its_generator_alone():
    before = torch.get_rng_state()
    one, two, other = (ConvNet(width=4).build(card(1, 16)).init(seeded(s))[0] for s in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])
    assert torch.equal(torch.get_rng_state(), before)
    bound = 1 / 9**0.5
    assert one["features.0.weight"].abs().max() <= bound
    assert one["features.0.weight"].abs().max() > 0.8 * bound


def test_running_statistics_move_in_training_only():
    network = ConvNet(width=4, depth=1, norm="batch").build(card(1, 8))
    params, buffers = network.init(seeded())
    x = torch.randn(6, 1, 8, 8, generator=seeded(1))
    kept = {name: value.clone() for name, value in buffers.items()}
    network(params, buffers, x, training=False)
    assert all(torch.equal(buffers[name], kept[name]) for name in kept)
    network(params, buffers, x)
    assert not torch.equal(buffers["features.1.mean"], kept["features.1.mean"])


@pytest.mark.parametrize(("plan", "side"), [(ConvNet(depth=4), 8), (LeNet(), 8), (AlexNet(), 6)])
def test_too_small_images_are_refused(plan, side):
    with pytest.raises(RecipeRefused, match="leaves nothing of images of"):
        plan.build(card(3, side))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(16, 5), nn.Linear(5, 3)

    def features(self, x):
        return self.first(x.flatten(1)).tanh()

    def forward(self, x):
        return self.head(self.features(x))


def test_an_ordinary_module_is_a_network():
    network = ModuleNetwork(Net)
    before = torch.get_rng_state()
    starts = [network.init(seeded(i))[0] for i in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    module = Net()
    module.load_state_dict({name.removeprefix("inner."): value for name, value in starts[0].items()})
    x = torch.randn(2, 4, 1, 4, 4, generator=seeded(1))
    assert torch.allclose(network(starts[0], {}, x[0]), module(x[0]))
    assert torch.allclose(network(starts[0], {}, x[0], features=True), module.features(x[0]))
    stack = {name: torch.stack([s[name] for s in starts]) for name in starts[0]}
    assert torch.allclose(network(stack, {}, x, ensemble=2)[1], network(starts[1], {}, x[1]), atol=1e-6)


def test_the_largest_activation_decides_the_chunk():
    network = ConvNet(width=128).build(card(1, 28))
    draw = Draw(network, *network.init(seeded()))
    assert activation_floats(draw, (1, 28, 28)) == 128 * 32 * 32
    assert items_a_chunk(draw, (1, 28, 28)) == 16
    assert items_a_chunk(draw, (1, 28, 28), max_bytes=1) == 1
