"""Videos of a still image and fields by which it moves."""

from dataclasses import replace

import pytest
import torch

from ddcore import Host, RecipeRefused
from ddcore import plugin as dd
from ddcore.testing import check_carrier, tiny_recipe, tiny_videos


def test_still_videos_take_the_bytes_of_real_ones_and_start_near_them():
    data, host = tiny_videos(), Host()
    recipe = tiny_recipe(dd.Still(2, rank=7), method="dm", data=data, host=host)
    run = host.start(recipe, data)
    run.run_until(0)
    full = run.export()
    assert full.nbytes <= 2 * 3 * 512 * 4
    check_carrier(dd.Still(2), data=data)
    with pytest.raises(RecipeRefused, match="take more than 1 videos per class of tiny videos: take a smaller"):
        host.start(replace(recipe, synthetic=dd.Still(1, rank=7)), data)
    images = data.train.take(torch.arange(len(data.train))).inputs
    shown = dd.preprocess_of(full, host.catalogue).inverse(full.inputs)
    assert float((shown[:, None] - images).abs().flatten(2).amax(2).amin(1).max()) < 1e-3
