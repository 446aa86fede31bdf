"""Networks as pure functions: against ordinary modules, stacked, and differentiated twice."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from ddcore import ModuleNetwork, RecipeRefused
from ddcore.chunking import activation_floats, chunk_size
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
            moved = double(own)
            alone = network(double(params), moved, x[i], features=features)
            assert torch.allclose(together[i], alone, atol=1e-10)
            assert all(torch.allclose(buffers[name][i], moved[name], atol=1e-10) for name in moved)
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


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_first_and_second_derivatives_agree_with_finite_differences(norm):
    network = ConvNet(width=3, depth=1, norm=norm, activation="swish").build(card(1, 4, classes=2))
    params, buffers = (double(values) for values in network.init(seeded()))
    weight = params["features.0.weight"].requires_grad_()
    x = torch.randn(2, 1, 4, 4, generator=seeded(1), dtype=torch.float64)

    def loss(w):
        return network({**params, "features.0.weight": w}, buffers, x).square().sum()

    assert torch.autograd.gradcheck(loss, weight)
    assert torch.autograd.gradgradcheck(loss, weight)


@pytest.mark.parametrize("plan", [ConvNet(width=4), AlexNet(), VGG11(), ResNet18(), ResNet18(norm="batch")], ids=str)
def test_no_parameter_is_dead_on_images_of_8_pixels(plan):
    network = plan.build(card(1, 8))
    params, buffers = network.init(seeded())
    leaves = [value.requires_grad_() for value in params.values()]
    logits = network(params, buffers, torch.randn(4, 1, 8, 8, generator=seeded(1)))
    gradients = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.arange(4)), leaves)
    assert [name for name, value in zip(params, gradients, strict=True) if not value.any()] == []


def test_a_resnet_takes_one_small_image_and_keeps_its_strides_on_the_usual_ones():
    network = ResNet18().build(card(3, 8))
    assert torch.isfinite(network(*network.init(seeded()), torch.randn(1, 3, 8, 8, generator=seeded(1)))).all()
    for side in (16, 28, 32):
        blocks = ResNet18().build(card(3, side)).features.layers[3:11]
        assert [block.body.layers[0].stride for block in blocks] == [1, 1, 2, 1, 2, 1, 2, 1]


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


@pytest.mark.parametrize("make", [ConvNet, MLP])
@pytest.mark.parametrize("sizes", [{"width": 0}, {"width": -3}, {"depth": 0}, {"depth": -1}], ids=str)
def test_sizes_below_one_are_refused(make, sizes):
    ((name, size),) = sizes.items()
    with pytest.raises(
        RecipeRefused,
        match=rf"^{name} = {size}: it must be at least 1( and at most 1000)? \(network {make.part_name()}\)",
    ):
        make(**sizes)


def test_a_width_that_group_norm_cannot_cut_is_refused():
    with pytest.raises(RecipeRefused, match="^6 channels cannot be divided"):
        ConvNet(width=6, norm="group").build(card(1, 16))


@pytest.mark.parametrize(("channels", "least"), [(1, 12), (3, 16)])
def test_lenet_names_the_least_size_that_it_takes(channels, least):
    with pytest.raises(RecipeRefused, match=f"{least} pixels are the least"):
        LeNet().build(card(channels, least - 1))
    network = LeNet().build(card(channels, least))
    assert network(*network.init(seeded()), torch.rand(2, channels, least, least)).shape == (2, 10)


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


class Peculiar(nn.Module):
    """Reads a number while it is made, keeps a tensor that is no buffer, shares a weight, has batch norm."""

    def __init__(self):
        super().__init__()
        self.scale = torch.linspace(1, 2, 3) * torch.linspace(0, 1, 3)[1].item()
        self.first, self.second, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(self.second(self.first(x.flatten(1)).tanh()))) * self.scale


def test_a_module_keeps_its_shared_weights_plain_tensors_and_running_statistics():
    network = ModuleNetwork(Peculiar, per_sample=False)
    before = torch.get_rng_state()
    starts = [network.init(seeded(i)) for i in range(2)]
    stack = [{name: torch.stack([s[k][name] for s in starts]) for name in starts[0][k]} for k in (0, 1)]
    x = torch.randn(2, 5, 1, 2, 2, generator=seeded(1))
    together = network(*stack, x, ensemble=2)
    assert torch.equal(torch.get_rng_state(), before)
    for i, (params, buffers) in enumerate(starts):
        assert "inner.second.weight" not in params
        module = Peculiar()
        whole = {name.removeprefix("inner."): value.clone() for name, value in (params | buffers).items()}
        module.load_state_dict(whole | {"second.weight": whole["first.weight"]})
        expected = module(x[i])
        assert torch.allclose(network(params, buffers, x[i]), expected, atol=1e-5)
        assert torch.allclose(together[i], expected, atol=1e-5)
        for name, value in module.named_buffers():
            assert torch.allclose(buffers[f"inner.{name}"], value, atol=1e-6)
            assert torch.allclose(stack[1][f"inner.{name}"][i], value, atol=1e-6)
        assert torch.allclose(network(params, buffers, x[i], training=False), module.eval()(x[i]), atol=1e-5)


def test_a_module_is_not_made_again_for_every_call():
    made = []

    def factory():
        made.append(1)
        return Net()

    network = ModuleNetwork(factory)
    params, buffers = network.init(seeded())
    before = len(made)
    x = torch.randn(4, 1, 4, 4, generator=seeded(1))
    network(params, buffers, x)
    network(params, buffers, x, training=False)
    network(params, buffers, x, features=True)
    assert len(made) == before


def test_a_module_may_be_called_first_while_it_is_measured_or_differentiated():
    start = ModuleNetwork(Net).init(seeded())
    assert activation_floats(Draw(ModuleNetwork(Net), *start), (1, 4, 4)) == 16
    fresh = ModuleNetwork(Net)
    x = torch.randn(3, 1, 4, 4, generator=seeded(1))

    def loss(params, x):
        return fresh(params, {}, x[None]).logsumexp(1)[0]

    together = vmap(grad(loss), in_dims=(None, 0))(start[0], x)
    for name, value in grad(loss)(start[0], x[1]).items():
        assert torch.allclose(together[name][1], value, atol=1e-6)


def test_the_largest_activation_decides_the_chunk():
    network = ConvNet(width=128).build(card(1, 28))
    draw = Draw(network, *network.init(seeded()))
    assert activation_floats(draw, (1, 28, 28)) == 128 * 32 * 32
    assert chunk_size(draw, (1, 28, 28)) == 8
    assert chunk_size(draw, (1, 28, 28), max_bytes=1) == 1
