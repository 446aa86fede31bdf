"""Wrong gates: each check can fail, and says what to do."""

import random
import re
from dataclasses import dataclass

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing


class Clipping(dd.WrappedGate):
    """Clips features, adds secret noise, and keeps an account."""

    clip, counted, kept, overlapping = 1.0, True, True, False

    def __init__(self, gate):
        super().__init__(gate)
        self.requests = 0

    def features(self, draw, groups):
        if not self.overlapping:
            dd.disjoint(groups)
        self.requests += self.counted
        found = []
        for group in groups:
            (batch,) = self.gate.examples([group])
            each = draw(batch.inputs, features=True).detach()
            each = each * (self.clip / each.norm(dim=1, keepdim=True).clamp_min(self.clip))
            noise = torch.randn(each.shape[1:], generator=self.rng.secret("clipping"))
            found.append(each.mean(0) + 0.1 * noise)
        return found

    def spent(self):
        return dd.Spent(float(self.requests), 0.0, self.requests)

    def state_dict(self):
        return {"requests": self.requests} if self.kept else {}

    def load_state_dict(self, state):
        self.requests = state.get("requests", 0)

    def ledger(self):
        return {"requests": self.requests}

    def load_ledger(self, before):
        self.requests = before["requests"]


class Open(Clipping):
    clip = float("inf")


class Uncounted(Clipping):
    counted = False


class Lost(Clipping):
    kept = False


class Accountless(Clipping):
    def spent(self):
        return None


class Lenient(Clipping):
    overlapping = True


class Attached(Clipping):
    def features(self, draw, groups):
        return [f.requires_grad_() for f in super().features(draw, groups)]


class Guessable(Clipping):
    def features(self, draw, groups):
        return [f + random.random() for f in super().features(draw, groups)]


@dataclass(frozen=True)
class Guarding(dd.GatePlan):
    """A guard of some class, which serves features."""

    guards = True

    @property
    def serves(self):
        return frozenset({"features"})

    def build(self, source, rng):
        return MODULE[0](dd.Open().build(source, rng))


MODULE = [Clipping]


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        (Clipping, r"^$"),
        (Open, r"guarding lets one item far out move its features by .*: clip what each item says"),
        (Uncounted, r"guarding tells features and does not count it"),
        (Lost, r"guarding forgets what was spent: state_dict and ledger"),
        (Accountless, r"guarding guards and keeps no account"),
        (Lenient, r"guarding answers features of groups that overlap: begin with dd.disjoint"),
        (Attached, r"guarding: what it tells of features can be differentiated"),
        (
            Guessable,
            r'guarding answers otherwise after a stop: draw all noise and samples from rng.secret\("guarding"\)',
        ),
    ],
)
def test_a_wrong_gate(gate, sentence, monkeypatch, told):
    monkeypatch.setitem(globals(), "MODULE", [gate])
    assert re.search(sentence, told(testing.check_gate, Guarding()))


@dataclass(frozen=True)
class Halving(dd.GatePlan):
    """The open gate, whose features are half as large."""

    @property
    def serves(self):
        return frozenset({"features", "secrets"})

    def build(self, source, rng):
        return HalvingGate(dd.Open().build(source, rng))


class HalvingGate(dd.WrappedGate):
    def features(self, draw, groups):
        return [f / 2 for f in super().features(draw, groups)]


def test_a_gate_that_is_not_the_identity_it_claims_to_be(told):
    said = told(testing.check_gate, Halving(), identity=Halving())
    assert re.search(r"with settings that change nothing, .*, its features are not those of the open gate", said)
    assert "serves secrets, which nobody asks" in said
