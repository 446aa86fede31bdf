"""Fast layers against the plain ones."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.func import vmap
from torch.nn import functional as F

from ddcore import ConvNet
from ddcore.fast import fast, fast_paths
from ddcore.networks.fused import can_fuse, can_halve, halved
from ddcore.types import DataCard, Draw


@pytest.fixture(autouse=True)
def allowed():
    """Whatever the environment says."""
    with fast_paths(True):
        yield


SIDES = ((2, 2), (4, 2), (16, 16), (32, 32), (6, 64))


def drawn(shape, dtype=torch.float32, **fields):
    network = ConvNet(**{"width": 8, **fields}).build(DataCard("made", shape, 3, (1, 1, 1)))
    generator = torch.Generator().manual_seed(0)
    params, buffers = network.init(generator)
    x = torch.randn(5, *shape, generator=generator).to(dtype)
    params = {n: (p + 0.1 * torch.randn(p.shape, generator=generator)).to(dtype) for n, p in params.items()}
    return Draw(network, params, {n: b.to(dtype) for n, b in buffers.items()}), x


def drawn_plainly(draw, x):
    with fast_paths(False):
        return draw(x)


@pytest.mark.parametrize(("sides", "dtype"), list(product(SIDES, (torch.float32, torch.float64))))
def test_the_product_is_the_mean_of_each_square(sides, dtype):
    x = torch.randn(3, 2, *sides, dtype=dtype, generator=torch.Generator().manual_seed(1))
    assert can_halve(x)
    assert torch.equal(halved(x), F.avg_pool2d(x, 2))


def test_its_derivatives_are_exact():
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(halved, x)
    assert torch.autograd.gradgradcheck(lambda x: halved(x).square(), x)


@pytest.mark.parametrize("sides", [(3, 4), (4, 5), (4, 66)])
def test_other_images_are_pooled_plainly(sides):
    assert not can_halve(torch.zeros(1, 1, *sides))


@pytest.mark.parametrize("fields", [{}, {"activation": "swish"}, {"depth": 1}, {"norm": "group"}, {"pooling": "max"}])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 16, 16), (1, 12, 20)])
def test_features_without_derivatives_are_those_with(shape, fields):
    draw, x = drawn(shape, torch.float64, **{"depth": 2, **fields})
    with torch.no_grad():
        quick = draw(x, features=True)
        with fast_paths(False):
            assert not can_fuse(x)
            assert torch.allclose(draw(x, features=True), quick, rtol=1e-10, atol=1e-10)
    assert torch.allclose(draw(x, features=True), quick, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e3])
def test_constant_images_are_no_trouble(value):
    draw, x = drawn((1, 16, 16), torch.float64, depth=2)
    x = torch.full_like(x, value)
    with torch.no_grad():
        assert torch.allclose(draw(x), drawn_plainly(draw, x), atol=1e-8)


def test_in_float32_they_agree_to_rounding():
    draw, x = drawn((1, 28, 28), width=32)
    with torch.no_grad():
        quick, plain = draw(x), drawn_plainly(draw, x)
    assert (quick - plain).norm() <= 1e-5 * plain.norm()


def test_a_single_net_of_an_ensemble_and_a_batched_one():
    draw, x = drawn((1, 16, 16), torch.float64, depth=2)
    one = replace(draw, params={n: p[None] for n, p in draw.params.items()}, ensemble=1)
    with torch.no_grad():
        assert torch.allclose(one(x[None])[0], draw(x))
        assert torch.allclose(vmap(lambda item: draw(item[None])[0])(x), draw(x))


def test_the_switch_is_the_environment_or_a_context():
    assert fast()
    with fast_paths(False):
        assert not fast()
    assert fast()
