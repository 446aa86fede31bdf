"""Wrong objectives, and what breaks the contract of parts of any kind: each check can fail, and says what to do."""

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing
from ddcore.testing import Untried

# --- parts of any kind


@dataclass(frozen=True)
class Careless(dd.Policy):
    pace: int = 1

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


def test_what_breaks_the_contract_of_parts():
    assert testing.check_part.faults(Careless()) == [
        "Careless has no docstring: say in a sentence what it is, which `ddcore list parts` shows.",
        "Careless.pace has no docstring below it: say what it means, with its unit.",
        "Careless.pace is a number without bounds: annotate it as dd.Count, dd.Positive, dd.Share or another of"
        " ddcore.bounds, or as ClassVar where it is no setting.",
    ]
    with pytest.raises(AssertionError, match="Careless.pace has no docstring"):
        testing.check_part(Careless())


# --- objectives


class Matching(dd.LossObjective):
    """DM's loss, wrong in some way."""

    asked = frozenset({"features"})

    @property
    def asks(self):
        return self.asked

    def loss(self, draw, synthetic, ctx):
        groups = [dd.Group(classes=(c,), size=4) for c in range(ctx.card.classes)]
        real = ctx.gate.features(draw, groups)
        inputs = [synthetic.take(synthetic.pick([c]))[0] for c in range(ctx.card.classes)]
        ours = [draw(x, features=True).mean(0) for x in inputs]
        return sum((r - o).square().sum() for r, o in zip(real, ours, strict=True))


class Undeclared(Matching):
    """It does not say what it asks."""

    asked = frozenset()


class Flat(Matching):
    """Its loss does not depend on S."""

    def loss(self, draw, synthetic, ctx):
        return (super().loss(draw, synthetic, ctx).detach() * torch.ones((), requires_grad=True)).sum()


class Global(Matching):
    """It draws from everybody's generator."""

    def loss(self, draw, synthetic, ctx):
        return super().loss(draw, synthetic, ctx) * (1 + torch.rand(()))


class Trampling(Matching):
    """It trains the network that it is given."""

    def loss(self, draw, synthetic, ctx):
        for value in draw.params.values():
            value.data.mul_(0.5)
        return super().loss(draw, synthetic, ctx)


class Forgetful(Matching):
    """What it counts is lost in a stop."""

    calls: ClassVar = [0]

    def loss(self, draw, synthetic, ctx):
        self.calls[0] += 1
        return super().loss(draw, synthetic, ctx) * self.calls[0]


class Endless(Matching):
    """Its loss is infinite."""

    def loss(self, draw, synthetic, ctx):
        return super().loss(draw, synthetic, ctx) * torch.inf


class Silent(Matching):
    """It yields nothing."""

    def accumulate(self, draw, synthetic, ctx):
        return iter(())


class Stumbling(Matching):
    """It has a mistake."""

    def loss(self, draw, synthetic, ctx):
        return synthetic.takes()


class Needy(Matching):
    """It needs what nobody gives."""

    @property
    def needs(self):
        return frozenset({"moon"})


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (Undeclared, r'undeclared asks features of the gate and does not say so: return frozenset\(\{"features"\}\)'),
        (Flat, r"leaves no gradient in S: call backward\(\)"),
        (Global, r'draws from torch\'s global generator: give it generator=ctx.rng\["global"\]'),
        (Trampling, r"trampling changes the parameters of the network it is given"),
        (Forgetful, r"forgetful goes on otherwise after a stop: keep all"),
        (Endless, r"The loss of dm is inf"),
        (Silent, r"yields no loss: accumulate yields once"),
        (Stumbling, r"AttributeError at .*test_wrong_objectives.py:\d+: .*takes"),
    ],
)
def test_a_wrong_objective(part, sentence, told):
    assert re.search(sentence, told(testing.check_objective, part()))


def test_a_part_that_no_small_run_can_be_made_of():
    with pytest.raises(Untried, match=r"could be run with needy in it: give the check recipe=.*moon"):
        testing.check_objective(Needy())


def test_a_right_objective(told):
    assert told(testing.check_objective, Matching()) == ""
