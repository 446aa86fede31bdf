"""Images of few colours: packed numbers, nearest colours, their means, bytes and artefacts, written slowly."""

import math
from dataclasses import replace

import pytest
import torch

from ddcore import RecipeRefused
from ddcore import plugin as dd
from ddcore.carriers.palette import Palette
from ddcore.levels import packed_numbers, unpacked_numbers
from ddcore.testing import check_carrier, tiny_images, tiny_run
from ddcore.types import DataCard


@pytest.mark.parametrize("init", ["noise", "real"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_palettes_keep_the_contract(depth, init):
    check_carrier(Palette(1, depth=depth, init=init, most=4), data=tiny_images(8))


@pytest.mark.parametrize("bits", range(1, 9))
def test_numbers_of_any_bits_are_packed_and_come_back(bits):
    numbers = torch.randint(2**bits, (3, 13), generator=torch.Generator().manual_seed(bits))
    stored = packed_numbers(numbers, bits)
    assert stored.dtype == torch.uint8 and stored.shape == (3, math.ceil(13 * bits / 8))
    whole = sum(int(number) << bits * place for place, number in enumerate(numbers[1]))
    assert [int(byte) for byte in stored[1]] == [*whole.to_bytes(stored.shape[1], "little")]
    assert torch.equal(unpacked_numbers(stored, 13, bits), numbers)


def test_nearest_colours_are_found_in_parts_that_fit_in_memory(monkeypatch):
    module = drawn(Palette(1, depth=2, most=3), CARD)
    whole = module._numbers()
    monkeypatch.setattr("ddcore.carriers.palette.chunk_bytes", lambda device: 1)
    assert torch.equal(module._numbers(), whole) and module._numbers(torch.tensor([], dtype=torch.long)).shape == (
        0,
        20,
    )
    assert module.nbytes() == sum(value.nbytes for value in module.latent().values())


def test_fewer_real_pixels_than_colours_are_refused_before_a_run(host):
    recipe = host.recipe("dm", overrides={"synthetic": {"name": "palette", "depth": 8, "init": "real", "coarse": 8}})
    card = DataCard("made", (1, 8, 8), 2, (9, 3))
    with pytest.raises(RecipeRefused, match="have 192 pixels, which cannot be put into 256 clusters"):
        replace(recipe, synthetic=replace(recipe.synthetic, ipc=8)).check(card, host.catalogue)


def drawn(plan, card):
    module = plan.build(card)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (module.pixels, module.palette):
            value.copy_(torch.randn(value.shape, generator=generator))
    return module


CARD = DataCard("made", (3, 4, 5), 2, (9, 9))


def nearest(module, i, y, x):
    """The colour (c,) nearest to a pixel, and its number."""
    colours, pixel = module.palette[module.classes[i]].T, module.pixels.detach()[i, :, y, x]
    gaps = [float((pixel - colour).square().sum()) for colour in colours]
    return colours[gaps.index(min(gaps))], gaps.index(min(gaps))


def test_each_pixel_shows_the_nearest_colour_of_its_class_and_its_gradient_goes_straight_through():
    module = drawn(Palette(1, depth=2, most=3), CARD)
    rows = torch.tensor([5, 0, 2])
    shown = module(rows)
    for i, image in zip(rows.tolist(), shown, strict=True):
        for y in range(4):
            for x in range(5):
                assert torch.equal(image[:, y, x], nearest(module, i, y, x)[0])
    weights = torch.randn(shown.shape, generator=torch.Generator().manual_seed(1))
    (shown * weights).sum().backward()
    assert torch.equal(module.pixels.grad[rows], weights)
    assert not module.pixels.grad[[1, 3, 4]].any()


def test_a_colour_becomes_the_mean_of_the_pixels_that_show_it():
    module = drawn(Palette(1, depth=3, most=3), CARD)
    module.palette[0, :, 7] = 100.0
    pixels = module.pixels.detach()
    showing = {(c, number): [] for c in range(2) for number in range(8)}
    for i in range(6):
        for y in range(4):
            for x in range(5):
                showing[i // 3, nearest(module, i, y, x)[1]].append(pixels[i, :, y, x])
    before = module.palette.clone()
    module.follow(None, torch.Generator())
    assert not showing[0, 7]
    for (c, number), seen in showing.items():
        wanted = torch.stack(seen).mean(0) if seen else before[c, :, number]
        assert torch.allclose(module.palette[c, :, number], wanted, atol=1e-5)


@pytest.mark.parametrize("fields", [{"depth": 1}, {"depth": 3}, {"depth": 4, "coarse": 8}, {"depth": 8}])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 31, 17)])
def test_as_many_images_as_fit_and_not_one_more(shape, fields):
    plan = Palette(2, most=10**6, **fields)
    card = DataCard("made", shape, 10, (20,) * 10)
    module = plan.build(card)
    latent = module.latent()
    palettes = latent["palette"].numel() + 8 if plan.coarse else latent["palette"].nbytes
    budget = 2 * 4 * 10 * math.prod(shape)
    each = math.ceil(math.prod(shape[1:]) * plan.depth / 8)
    assert palettes + latent["numbers"].nbytes <= budget < palettes + latent["numbers"].nbytes + 10 * each
    assert module.nbytes() == sum(value.nbytes for value in latent.values())


@pytest.mark.parametrize("bits", [None, 8])
def test_images_come_back_from_the_artefact(host, tmp_path, bits):
    plan = Palette(1, depth=3, init="real", most=5, bits=bits)
    made = tiny_run(plan, data=tiny_images(8), host=host)
    again = dd.load_distilled(made.save(tmp_path / "set.safetensors"))
    module = plan.ready(again.data)
    module.restore(again.latent)
    assert torch.equal(module(torch.arange(len(again))), again.inputs)
    palette = again.latent["palette"]
    assert palette.shape == (3, 1, 8) and again.latent["numbers"].shape == (15, 24)
    assert again.nbytes == (palette.numel() + 8 if bits else palette.nbytes) + 15 * 24 + 15
    assert all(len(images.unique()) <= 8 for images in again.inputs.split(5))


def test_a_real_start_shows_real_images_in_the_centres_of_their_pixels(host):
    recipe = replace(
        host.recipe("dm"), synthetic=Palette(1, init="real", depth=4, most=30), network=dd.ConvNet(4, depth=2)
    )
    run = host.start(recipe, tiny_images(8))
    run.start()
    carrier = run.synthetic.carrier
    assert set(run.trace.asked) == {"examples"}
    gaps = (carrier(torch.arange(len(carrier.classes))) - carrier.pixels).detach()
    assert float(gaps.square().mean()) < 0.05 * float(carrier.pixels.detach().var())


def test_where_not_even_one_fits_it_is_refused(host, small, tiny):
    recipe = replace(small(host.recipe("dm")), synthetic=Palette(1, depth=8))
    with pytest.raises(RecipeRefused, match="no more bytes than palettes of 256 colours and one image"):
        host.start(recipe, tiny)
