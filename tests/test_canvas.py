"""Canvases whose opposite edges join."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore.testing import check_carrier, tiny_images, tiny_run


@pytest.mark.parametrize("init", ["noise", "real"])
@pytest.mark.parametrize("ipc", [1, 2, 4])
def test_canvases_keep_the_contract(ipc, init):
    check_carrier(dd.Canvas(ipc, crops=3, init=init), data=tiny_images(8))


def test_crops_go_on_at_the_opposite_edge():
    plan = dd.Canvas(4, crops=2)
    module = plan.build(tiny_images(8).card)
    assert module.canvas.shape == (3, 1, 16, 16) and module.classes.tolist() == [0, 0, 1, 1, 2, 2]
    with torch.no_grad():
        module.canvas.copy_(torch.rand(module.canvas.shape))
    module.follow(None, torch.Generator().manual_seed(0))
    module.places[3] = torch.tensor([12, 13])
    crops = module(torch.arange(6))
    for i, (top, left) in enumerate(module.places.tolist()):
        whole = F.pad(module.canvas[i // 2][None], (0, 16, 0, 16), mode="circular")[0]
        assert torch.equal(crops[i], whole[:, top : top + 8, left : left + 8])
    again = plan.build(tiny_images(8).card)
    again.restore(module.latent())
    assert torch.equal(again(torch.arange(6)), crops)


def test_a_canvas_has_the_area_of_its_images():
    """Sides of whole pixels, cut off: three images of 8 x 8 are a canvas of 13 x 13."""
    module = dd.Canvas(3, crops=4).build(tiny_images(8).card)
    assert module.canvas.shape[2:] == (13, 13)


def test_a_canvas_comes_back_from_its_artefact(host):
    made = tiny_run(dd.Canvas(2, crops=3), host=host)
    again = dd.Canvas(2, crops=3).ready(made.data)
    again.restore(made.latent)
    assert torch.equal(again(torch.arange(len(made.targets))), made.inputs)
    assert made.nbytes >= made.latent["canvas"].nbytes + made.latent["places"].nbytes


def test_a_real_start_is_one_image_mirrored_so_that_its_edges_join(host):
    recipe = replace(host.recipe("dm", ipc=4), synthetic=dd.Canvas(4, init="real"), network=dd.ConvNet(4, depth=2))
    run = host.start(recipe, tiny_images(8))
    run.start()
    canvas = run.synthetic.carrier.canvas.detach()
    assert torch.equal(canvas, canvas.flip(2)) and torch.equal(canvas, canvas.flip(3)) and canvas.std() > 0
    assert set(run.trace.asked) == {"examples"}
