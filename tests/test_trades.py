"""What scenarios of single trades bring: the study of influence, canvases that tile, error bars."""

import importlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ddcore import Host
from ddcore import plugin as dd
from ddcore.testing import (
    check_carrier,
    check_data_set,
    check_recipe,
    check_study,
    tiny_run,
    tiny_vectors,
)

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"


@pytest.fixture
def trade(monkeypatch):
    """Imports the scenario of a name: the module, and a host that has its parts."""
    monkeypatch.syspath_prepend(str(SCENARIOS))

    def bring(name):
        module = importlib.import_module(name)
        return module, Host({name: module})

    return bring


# --- explain


def test_the_study_of_influence(trade, tmp_path):
    module, host = trade("explain")
    study = module.Explain(training=4, ipc=1, iterations=1, items=2, left_out=2, seeds=(0, 1))
    check_study(study, host=host)


# --- textures


def test_the_method_of_textures(trade):
    module, host = trade("textures")
    check_recipe(module.texture(ipc=1, iterations=2), host=host)


def test_the_seam_is_told_from_what_is_within(trade):
    module, _ = trade("textures")
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert module.seam(ramp + ramp.mT) == pytest.approx(7)
    wave = (torch.arange(8.0) % 2).expand(1, 1, 8, 8)
    assert module.seam(wave + wave.mT) == pytest.approx(1)


def test_no_place_of_a_canvas_is_an_edge(trade):
    """Images that end otherwise than they begin, a ramp, leave no seam in the canvas that is learned from them."""
    module, host = trade("textures")
    ramps = torch.linspace(0, 1, 8).expand(40, 1, 8, 8) * torch.rand(40, 1, 1, 1)
    data = dd.RealData.of("ramps", (ramps, torch.arange(40) % 2), None, white=1.0)
    canvases = [
        tiny_run(dd.Canvas(4, crops=8), data=data, host=host, overrides={"seed": seed}).latent["canvas"]
        for seed in range(3)
    ]
    assert module.seam(ramps + ramps.mT) > 5
    assert module.seam(torch.cat(canvases)) < 1.5


@pytest.mark.parametrize("ipc", [1, 2, 3, 4])
def test_a_canvas_of_real_images_starts_without_a_seam(trade, ipc):
    module, host = trade("textures")
    ramps = torch.linspace(0, 1, 8).expand(40, 1, 8, 8) * torch.linspace(0.5, 1, 40)[:, None, None, None]
    data = dd.RealData.of("ramps", (ramps + ramps.mT, torch.arange(40) % 2), None, white=2.0)
    made = tiny_run(dd.Canvas(ipc, crops=2, init="real"), data=data, host=host, iterations=1)
    canvas = made.latent["canvas"]
    assert canvas.std() > 0.1
    odd = canvas.shape[2] % 2  # one of the rows on both sides of the middle is cut off, and the seam is a whole step
    assert module.seam(canvas) < (1.2 if odd else 0.1)


# --- scientific


@pytest.mark.parametrize("degrees", [-30, 0, 20])
def test_the_slant_of_a_slanted_stroke(trade, degrees):
    module, _ = trade("scientific")
    down, right = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(61.0) - 30, indexing="ij")
    stroke = (-((right + down * math.tan(math.radians(degrees))) / 2).square()).exp() * (down.abs() < 15)
    images = torch.stack([stroke, stroke.roll((3, -5), (0, 1)), stroke.flip(1)])[:, None]
    found = module.slants(images)[:, 0]
    torch.testing.assert_close(found, torch.tensor([degrees, degrees, -degrees]).float(), atol=0.1, rtol=0)


def test_the_data_set_of_slants(trade):
    module, host = trade("scientific")
    check_data_set(module.Slant(training=100), host=host)


# --- outfits and design


def test_one_half_of_an_outfit_says_nothing_and_both_say_all(trade):
    module, _ = trade("outfits")
    kinds = module.garments(None, "train")
    pairs, together = module.outfits(*kinds, 400, 0)
    assert together.float().mean() == 0.5
    halves = zip(pairs.chunk(2, 1), kinds, strict=True)
    light = torch.stack([half.mean(1) > kind.mean(1).median() + 1e-6 for half, kind in halves])
    for half in light:
        assert half[together == 1].float().mean() == half[together == 0].float().mean() == 0.5
    assert torch.equal((light[0] == light[1]).long(), together)


def test_the_function_to_be_maximised_is_hartmanns(trade):
    module, _ = trade("design")
    best = torch.tensor([[0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]])
    assert float(module.hartmann(best)) == pytest.approx(3.32237, abs=1e-4)
    x = best.clone().requires_grad_()
    assert float(torch.autograd.grad(module.hartmann(x).sum(), x)[0].abs().max()) < 1e-2


def test_the_parts_of_design(trade):
    module, host = trade("design")
    data = tiny_vectors(values=1)
    recipe = host.recipe("kip", kind="vector", ipc=2, iterations=1)
    recipe = replace(recipe, synthetic=module.Designs(2, goal=7.0), objective=module.Backward(), seed=0)
    check_carrier(module.Designs(2), host=host, data=data, recipe=recipe)
    run = host.start(replace(recipe, preprocess=dd.Identity()), data)
    run.run_until(0)
    inputs, targets = run.synthetic.everything()
    real = data.train.take(torch.arange(len(data.train)))
    torch.testing.assert_close(inputs, real.inputs[real.targets[:, 0].topk(2).indices])
    assert (targets == 7).all()
