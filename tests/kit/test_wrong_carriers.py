"""Wrong carriers, protocols and methods: each check can fail, and says what to do."""

import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from ddcore import plugin as dd
from ddcore import testing
from ddcore.testing import Untried

# --- carriers


class Rows(dd.CarrierModule):
    def __init__(self, plan, card):
        super().__init__()
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(plan.ipc))
        self.rows = nn.Parameter(torch.zeros(len(self.classes), *card.shape))

    def start(self, ctx):
        with torch.no_grad():
            self.rows.copy_(torch.randn(self.rows.shape, generator=ctx.rng["rows"]))

    def forward(self, index):
        return self.rows[index]

    def nbytes(self):
        return self.rows.nbytes


class Nameless(Rows):
    def __init__(self, plan, card):
        super().__init__(plan, card)
        del self.classes


class Squeezed(Rows):
    def forward(self, index):
        return self.rows[index][..., :-1]


class Shuffled(Rows):
    def forward(self, index):
        return self.rows[index.flip(0)]


class Cheap(Rows):
    def nbytes(self):
        return 8


class Few(Rows):
    def __init__(self, plan, card):
        super().__init__(plan, card)
        self.classes = torch.zeros_like(self.classes)


class Peeking(Rows):
    def start(self, ctx):
        super().start(ctx)
        ctx.gate.examples([dd.Group(size=1)])


class Restless(Rows):
    """What it remembers stands in no checkpoint."""

    told = 0

    def follow(self, draw, rng):
        Restless.told += 1

    def forward(self, index):
        return self.rows[index] * (1 + 0.01 * Restless.told)


@dataclass(frozen=True)
class Store(dd.Carrier):
    """Rows of some class."""

    def build(self, card):
        return MODULE[0](self, card)


MODULE = [Rows]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Rows, r"^$"),
        (Squeezed, r"store: its inputs are \(6, 1, 16, 15\): answer \(6, 1, 16, 16\)"),
        (Shuffled, r"store: the inputs at some rows are others than those of the whole"),
        (Cheap, r"store counts 8 bytes and stores 1536 or 6144: let nbytes\(\) add up"),
        (Few, r"store: class 1 has no item, and per_class\(card\) says 2"),
        (Peeking, r"store asks examples of the gate and does not say so"),
        (Restless, r"store goes on otherwise after a stop"),
    ],
)
def test_a_wrong_carrier(module, sentence, monkeypatch, told):
    monkeypatch.setitem(globals(), "MODULE", [module])
    assert re.search(sentence, told(testing.check_carrier, Store(ipc=2)))


def test_a_carrier_without_classes(monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", [Nameless])
    with pytest.raises(Untried, match="Nameless has no classes: let its __init__ register a buffer `classes`"):
        testing.check_carrier(Store(ipc=2))


# --- protocols and methods


def method(function):
    return dd.method(dd.Citation("k", "A", "T", "V", 2024))(function)


def test_a_wrong_protocol(told):
    def bare():
        return dd.Protocol(networks=(dd.MLP(),))

    said = told(testing.check_protocol, bare)
    assert "bare has no docstring" in said
    assert "bare is not marked: put @dd.preset(...) above it" in said


def test_a_wrong_method(told):
    @dd.method()
    def nobody(iterations=3):
        return replace(dd.recipe("dm", iterations=iterations), name="somebody")

    said = told(testing.check_recipe, nobody)
    for sentence in (
        "nobody has no docstring",
        "nobody cites no paper: put @dd.method(dd.Citation(...)) above it.",
        "nobody takes no ipc",
        "nobody makes a recipe that is called somebody",
    ):
        assert sentence in said

    @method
    def fixed(ipc=1):
        """It begins where it ends, whatever the seed."""
        return replace(dd.recipe("dm", ipc=ipc, iterations=3), name="fixed", synthetic=Same(ipc))

    assert "fixed makes the same S whatever the seed: draw from ctx.rng." in told(testing.check_recipe, fixed)


@dataclass(frozen=True)
class Same(dd.Carrier):
    """It never moves."""

    def build(self, card):
        return Still(self, card)


class Still(Rows):
    def start(self, ctx):
        pass

    def forward(self, index):
        return self.rows[index] * 0

    def groups(self):
        return {"inputs": [self.rows]}
