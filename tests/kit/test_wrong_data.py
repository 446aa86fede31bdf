"""Wrong data sets: each check can fail, and says what to do."""

import re

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing


class Points(dd.DataSet):
    """Vectors, wrong in some way."""

    def item_kind(self):
        return "vector"

    def points(self, generator):
        return torch.randn(30, 4, generator=generator)

    def load(self):
        points, targets = self.points(torch.Generator().manual_seed(0)), torch.arange(30) % 3
        return dd.RealData.of("points", (points, targets), None)


class Mislabelled(Points):
    """It says another kind."""

    def item_kind(self):
        return "image"


class Moody(Points):
    """It is other data each time."""

    def points(self, generator):
        return torch.randn(30, 4)


class SameTest(Points):
    """It tests on what it trains on."""

    def load(self):
        split = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
        return dd.RealData.of("points", split, split)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Points, r"^$"),
        (Mislabelled, r"mislabelled loads items of the kind vector and says 'image' before"),
        (Moody, r"moody is other data when it is loaded again"),
        (SameTest, r"same_test tests on what it trains on"),
    ],
)
def test_a_wrong_data_set(data, sentence, told):
    assert re.search(sentence, told(testing.check_data_set, data()))
