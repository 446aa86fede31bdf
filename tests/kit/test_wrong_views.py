"""Wrong views: each check can fail, and says what to do."""

import re
from dataclasses import dataclass, replace

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing


class Live(dd.LiveView):
    def __init__(self, rng):
        self.rng = rng


class InPlace(Live):
    def apply(self, batch, draw):
        batch.inputs.mul_(0.5)
        return batch


class Dropping(Live):
    def apply(self, batch, draw):
        return dd.Batch(batch.inputs[1:], batch.targets[1:], batch.index[1:])


class Mixing(Live):
    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs - batch.inputs.mean(0))


class Relabelling(Live):
    def relabel(self, targets):
        return targets + 3


class Tensors(Live):
    def facts(self):
        return {"noise": torch.zeros(3)}


class Loud(Live):
    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs + torch.randn(batch.inputs.shape))


class Counting(Live):
    count = 0

    def follow(self, draw):
        self.count += 1

    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs * (1 + self.count / 10))


@dataclass(frozen=True)
class Changed(dd.View):
    """A change of some class."""

    itemwise = True

    def build(self, store, rng):
        return MODULE[0](rng)


MODULE = [Live]


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        (Live, r"^$"),
        (InPlace, r"changed changes the batch it is handed in place: work on a copy"),
        (Dropping, r"changed makes \(11, 1, 16, 16\) of \(12, 1, 16, 16\)"),
        (Mixing, r"The view changed declares that it is itemwise, but what it makes of an item depends on the others"),
        (Relabelling, r"changed answers no targets of the data"),
        (Tensors, r"changed states facts that JSON cannot hold"),
        (Loud, r"changed draws from torch's global generator"),
        (Counting, r"changed goes on otherwise after a stop"),
    ],
)
def test_a_wrong_view(live, sentence, monkeypatch, told):
    monkeypatch.setitem(globals(), "MODULE", [live])
    assert re.search(sentence, told(testing.check_view, Changed()))
