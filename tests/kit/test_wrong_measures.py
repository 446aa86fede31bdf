"""Wrong measures: each check can fail, and says what to do."""

import re

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing


class Sure(dd.Measure):
    """The mean largest softmax output, wrong in some way."""

    def __call__(self, draw, data, chunk):
        total = sum(self.of_chunk(logits.softmax(2).amax(2)) for logits, _ in dd.predictions(draw, data, chunk))
        return total / len(data)

    def of_chunk(self, values):
        return values.sum(1)


class OneForAll(Sure):
    """One number for all nets."""

    def of_chunk(self, values):
        return values.sum()


class ByChunk(Sure):
    """A sum of the means of chunks."""

    def of_chunk(self, values):
        return values.mean(1)


class Relative(Sure):
    """It compares nets."""

    def __call__(self, draw, data, chunk):
        values = super().__call__(draw, data, chunk)
        return values - values.mean()


class Undefined(Sure):
    """It divides by zero."""

    def __call__(self, draw, data, chunk):
        return super().__call__(draw, data, chunk) / 0


class Chancy(Sure):
    """It draws from everybody's generator."""

    def __call__(self, draw, data, chunk):
        return super().__call__(draw, data, chunk) + torch.rand(())


class Tuning(Sure):
    """It changes the nets."""

    def __call__(self, draw, data, chunk):
        for value in draw.params.values():
            value.mul_(1.5)
        return super().__call__(draw, data, chunk)


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (Sure, r"^$"),
        (OneForAll, r"one_for_all answers \(\) for 3 nets: answer one number per net"),
        (ByChunk, r"by_chunk depends on the chunk"),
        (Relative, r"relative of a net depends on the nets beside it"),
        (Undefined, r"undefined is \[inf, inf, inf\] of new networks"),
        (Chancy, r"chancy draws from torch's global generator"),
        (Tuning, r"tuning changes the nets that it measures"),
    ],
)
def test_a_wrong_measure(measure, sentence, told):
    assert re.search(sentence, told(testing.check_measure, measure()))
