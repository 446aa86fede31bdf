"""Augmentation: each operation against its formula, and one draw for any tensor."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from ddcore import DataCard, RecipeRefused
from ddcore.augment.affine import Affine
from ddcore.augment.mixing import CutMix
from ddcore.augment.siamese import OPERATIONS, Operation, Siamese
from ddcore.augment.transforms import Colour, Cutout, Mirror, Shift, Warp

SHAPE = (3, 8, 8)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def batch(n=5, dtype=torch.float64):
    return torch.rand(n, *SHAPE, generator=seeded(7), dtype=dtype)


def test_colour_is_brightness_then_saturation_then_contrast():
    x = batch(2)
    found = Colour(torch.tensor([0.2, -0.1]), torch.tensor([1.5, 0.0]), torch.tensor([0.5, 1.2]))(x)
    for i, (b, s, k) in enumerate(((0.2, 1.5, 0.5), (-0.1, 0.0, 1.2))):
        y = x[i] + b
        grey = sum(y[c] for c in range(3)) / 3
        y = torch.stack([grey + s * (y[c] - grey) for c in range(3)])
        mean = float(y.sum() / y.numel())
        assert torch.allclose(found[i], mean + k * (y - mean), atol=1e-7)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 4)])
def test_a_shift_moves_whole_pixels_and_brings_zeros(down, right):
    x = batch(2)
    wanted = torch.zeros_like(x)
    for r in range(8):
        for c in range(8):
            if 0 <= r - down < 8 and 0 <= c - right < 8:
                wanted[:, :, r, c] = x[:, :, r - down, c - right]
    one = Shift(torch.tensor([down]), torch.tensor([right]))
    assert torch.equal(one(x), wanted)
    each = Shift(torch.tensor([down, 0]), torch.tensor([right, 0]))
    assert torch.equal(each(x), torch.stack([wanted[0], x[1]]))


def test_cutout_zeroes_its_square():
    x = batch(2) + 1
    found = Cutout(torch.tensor([4, 0]), torch.tensor([4, 7]), (4, 4))(x)
    wanted = x.clone()
    wanted[0, :, 2:6, 2:6] = 0
    wanted[1, :, 0:2, 5:8] = 0
    assert torch.equal(found, wanted)


def test_mirror_flips_those_that_are_drawn():
    x = batch(2)
    found = Mirror(torch.tensor([True, False]))(x)
    assert torch.equal(found[0], x[0].flip(2))
    assert torch.equal(found[1], x[1])


def test_warp_looks_up_between_pixels():
    x = batch(1)
    identity = Warp(torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]))
    assert torch.allclose(identity(x), x, atol=1e-6)
    quarter = Warp(torch.tensor([[[0.0, -1, 0], [1, 0, 0]]]))
    assert torch.allclose(quarter(x), x.rot90(1, (2, 3)), atol=1e-6)
    half = Warp(torch.tensor([[[1.0, 0, 1 / 8], [0, 1, 0]]]))(x)
    right = torch.cat([x[..., 1:], torch.zeros(1, 3, 8, 1)], 3)
    assert torch.allclose(half, (x + right) / 2, atol=1e-6), "half a pixel is the mean of two neighbours"


def looked_up(image, theta):
    """The image (c, h, w) at theta (x, y, 1) of each pixel's centre, between four neighbours, pixel by pixel."""
    _, height, width = image.shape
    found = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            x, y = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1
            across, along = (a * x + b * y + c for a, b, c in theta.tolist())
            right, down = ((across + 1) * width - 1) / 2, ((along + 1) * height - 1) / 2
            for r in (math.floor(down), math.floor(down) + 1):
                for c in (math.floor(right), math.floor(right) + 1):
                    if 0 <= r < height and 0 <= c < width:
                        found[:, i, j] += (1 - abs(down - r)) * (1 - abs(right - c)) * image[:, r, c]
    return found


@pytest.mark.parametrize("augment", [Siamese(ops=("scale",)), Siamese(ops=("rotate",)), Affine(25, 0.3, 0.4)], ids=str)
@pytest.mark.parametrize("n", [None, 3])
def test_what_is_drawn_is_looked_up(augment, n):
    x = torch.rand(3, 2, 6, 9, generator=seeded(7), dtype=torch.float64)
    view: Any = augment.draw(seeded(4), (2, 6, 9), n=n)
    wanted = [looked_up(image, theta) for image, theta in zip(x, view.theta.double().expand(3, 2, 3), strict=True)]
    assert torch.allclose(view(x), torch.stack(wanted), rtol=0, atol=1e-12)
    assert not torch.allclose(view(x), x, atol=1e-2)


def test_one_of_the_three_is_picked_for_each_item():
    theta = Affine(45, 0.2, 0.3, one=True).draw(seeded(), SHAPE, n=300).theta
    sizes = theta[:, :, :2].det().abs().sqrt()
    turned = theta[:, 0, 1].abs() > 1e-6
    scaled = (sizes - 1).abs() > 1e-4
    moved = (theta[:, :, 2].abs() > 1e-6).any(1)
    assert (turned.int() + scaled.int() + moved.int() == 1).all()
    assert all(60 < int(each.sum()) < 140 for each in (turned, scaled, moved))


@pytest.mark.parametrize("augment", [Siamese(ops=("rotate",)), Affine(15, 0, 0)], ids=str)
def test_a_rotation_keeps_lengths(augment):
    view: Any = augment.draw(seeded(), SHAPE, n=50)
    turned = view.theta[:, :, :2]
    assert torch.allclose(turned @ turned.mT, torch.eye(2).expand(50, 2, 2), atol=1e-6)
    assert torch.allclose(turned.det(), torch.ones(50), atol=1e-6)


def test_strengths_of_zero_change_nothing():
    x = batch(4)
    assert torch.allclose(Affine(0, 0, 0).draw(seeded(), SHAPE, n=4)(x), x, atol=1e-12)


AUGMENTS = [*(Siamese(ops=(op,)) for op in get_args(Operation)), Affine(), Affine(one=True)]


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
def test_one_draw_is_one_change_for_any_tensor(augment):
    view = augment.draw(seeded(3), SHAPE)
    x = batch(5)
    together = view(x)
    for i in range(5):
        assert torch.allclose(view(x[i : i + 1])[0], together[i], atol=1e-12)
    assert torch.equal(view(x), together)
    assert together.shape == x.shape


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
def test_n_draws_are_n_changes(augment):
    x = batch(1).expand(16, *SHAPE)
    changed = augment.draw(seeded(3), SHAPE, n=16)(x)
    assert len({item.numpy().tobytes() for item in changed}) > 1


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
@pytest.mark.parametrize("m", [1, 3, 5])
def test_n_draws_want_n_items(augment, m):
    with pytest.raises(ValueError, match=f"drawn for 4 items and cannot be applied to {m}"):
        augment.draw(seeded(), SHAPE, n=4)(batch(m))


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
@pytest.mark.parametrize("n", [None, 2])
def test_a_change_follows_its_input_to_another_device(augment, n):
    changed = augment.draw(seeded(), SHAPE, n=n)(torch.empty(2, *SHAPE, device="meta", dtype=torch.float64))
    assert (changed.device.type, changed.shape, changed.dtype) == ("meta", (2, *SHAPE), torch.float64)


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
def test_draws_are_seeded_and_leave_the_global_generator(augment):
    before = torch.get_rng_state()
    x = batch(4)
    one, two = (augment.draw(seeded(5), SHAPE, n=4)(x) for _ in range(2))
    assert torch.equal(one, two)
    others = [augment.draw(seeded(s), SHAPE, n=4)(x) for s in range(6, 12)]
    assert not all(torch.equal(one, other) for other in others)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
@pytest.mark.parametrize("n", [None, 2])
def test_gradients_pass_through(augment, n):
    view = augment.draw(seeded(1), SHAPE, n=n)
    assert torch.autograd.gradcheck(view, batch(2).requires_grad_())


def test_every_operation_comes_about_as_often():
    generator = seeded()
    views = [Siamese().draw(generator, SHAPE) for _ in range(1200)]
    kinds = Counter((type(v).__name__, isinstance(v, Warp) and bool(v.theta[0, 0, 1])) for v in views)
    assert {name for name, _ in kinds} == {"Colour", "Shift", "Cutout", "Mirror", "Warp"}
    assert len(kinds) == 6, "a turned warp is a rotation, the other a scaling"
    assert all(140 < count < 260 for count in kinds.values())


def drawn(op, generator) -> Any:
    return OPERATIONS[op](500, SHAPE, generator)


def test_strengths_stay_in_their_range():
    generator, eighth = seeded(), round(0.125 * 8)
    shifts = drawn("crop", generator)
    assert set(shifts.down.tolist()) == set(range(-eighth, eighth + 1))
    angles = drawn("rotate", generator).theta[:, 1, 0].asin() * 180 / math.pi
    assert 14 < float(angles.abs().max()) <= 15.001
    scales = drawn("scale", generator).theta[:, (0, 1), (0, 1)]
    assert 1 / 1.2 - 1e-6 <= float(scales.min()) < 0.85
    assert 1.18 < float(scales.max()) <= 1.2 + 1e-6
    assert 200 < int(drawn("flip", generator).flipped.sum()) < 300
    holes = drawn("cutout", generator)
    assert holes.size == (4, 4)
    assert set(holes.row.tolist()) == set(range(9)), "centres lie on the image and its edges"
    view: Any = Affine(10, 0.1, 0.2).draw(generator, SHAPE, n=500)
    moved = view.theta
    assert 0.19 < float(moved[:, :, 2].abs().max()) <= 0.2, "a tenth of a side that is two wide"
    sizes = moved[:, :, :2].det().sqrt()
    assert 0.8 <= float(sizes.min()) + 1e-6 < 0.82
    assert 1.18 < float(sizes.max()) <= 1.2 + 1e-6
    colour = drawn("color", generator)
    assert float(colour.brightness.abs().max()) <= 0.5
    assert 1.9 < float(colour.saturation.max()) <= 2
    assert 0.5 <= float(colour.contrast.min()) < 0.55


def test_digits_are_not_flipped():
    assert "flip" not in Siamese().fitted(DataCard("digits", SHAPE, 2, (1, 1), flips=False)).ops
    assert Siamese().fitted(DataCard("cats", SHAPE, 2, (1, 1))) == Siamese()
    with pytest.raises(RecipeRefused, match="a mirrored image of digits may change its label"):
        Siamese(ops=("flip",)).fitted(DataCard("digits", SHAPE, 2, (1, 1), flips=False))
    with pytest.raises(RecipeRefused, match="name at least one operation"):
        Siamese(ops=())
    with pytest.raises(RecipeRefused, match="'rotat': it must be .* 'rotate'"):
        replace(Siamese(), ops=("rotat",))


def test_cutmix_puts_in_a_box_and_as_much_of_the_label():
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(300):
        mixing = CutMix.draw(generator, (2, 8, 10), 3)
        x, y = torch.randn(4, 2, 8, 10, generator=generator), torch.tensor([0, 1, 2, 2])
        seen, labels = mixing(x, y)
        other = 0
        for i in range(4):
            for row in range(8):
                for column in range(10):
                    inside = row in range(*mixing.rows.indices(8)) and column in range(*mixing.columns.indices(10))
                    source = x[i - 1] if inside else x[i]
                    assert torch.equal(seen[i, :, row, column], source[:, row, column])
                    other += inside / 320
        for i in range(4):
            expected = torch.zeros(3)
            expected[y[i]] += 1 - other
            expected[y[i - 1]] += other
            assert torch.allclose(labels[i], expected, atol=1e-5)
        again, soft = mixing(x, labels)
        assert torch.equal(again, seen)
        assert torch.allclose(soft.sum(1), torch.ones(4), atol=1e-5)
        shares.append(other)
    assert min(shares) < 0.05
    assert max(shares) > 0.8


# --- signals


def test_a_signal_is_shifted_by_whole_steps_and_zeros_come_in():
    from ddcore.augment.jitter import Jittered

    x = torch.arange(1.0, 6).view(1, 1, 5)
    all_kept = torch.ones(1, 5), torch.ones(1, 1)
    for steps, expected in ((2, [0, 0, 1, 2, 3]), (-1, [2, 3, 4, 5, 0]), (0, [1, 2, 3, 4, 5])):
        moved = Jittered(torch.tensor([steps]), torch.zeros(1, 1, 5), *all_kept)(x)
        assert moved.flatten().tolist() == expected


@pytest.mark.parametrize("n", [None, 6])
def test_changes_of_signals_are_drawn_once_within_their_bounds(n):
    from ddcore.augment.jitter import Jitter

    x = torch.rand(6, 10, 40) + 1
    plan = Jitter(shift=0.1, noise=0.0, time=0.25, channels=0.3)
    change = plan.draw(torch.Generator().manual_seed(1), (10, 40), n)
    seen = change(x)
    assert torch.equal(seen, change(x))
    gone = seen == 0
    assert bool((gone.all(2).sum(1) <= 3).all()) and bool((gone.all(1).sum(1) <= 10 + 4).all())
    assert bool((gone == gone[:1]).all()) == (n is None), "one change for all, or one for each"
    leaf = x.clone().requires_grad_()
    change(leaf).sum().backward()
    assert bool((leaf.grad >= 0).all()) and float(leaf.grad.sum()) > 0
    noisy = Jitter(shift=0.0, noise=0.5, time=0.0, channels=0.0).draw(torch.Generator().manual_seed(1), (10, 40), n)
    assert float((noisy(x) - x).std()) == pytest.approx(0.5, rel=0.2)
