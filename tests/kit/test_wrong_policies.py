"""Wrong policies: each check can fail, and says what to do."""

import re
from dataclasses import replace

import pytest
import torch

from ddcore import plugin as dd
from ddcore import testing


class Drawing(dd.Policy):
    """A fresh network, wrong in some way."""

    def draw(self, state, synthetic, ctx):
        return ctx.fresh()


class Meddling(Drawing):
    """It moves S."""

    def draw(self, state, synthetic, ctx):
        with torch.no_grad():
            next(synthetic.carrier.parameters()).add_(1)
        return ctx.fresh()


class Remembering(Drawing):
    """It remembers an object."""

    def draw(self, state, synthetic, ctx):
        state["last"] = object()
        return ctx.fresh()


class Elsewhere(Drawing):
    """It remembers what its memory does not say."""

    memory = dict[str, int]

    def draw(self, state, synthetic, ctx):
        state["seen"] = "much"
        return ctx.fresh()


class Foreign(Drawing):
    """Parameters of another network."""

    def draw(self, state, synthetic, ctx):
        return replace(ctx.fresh(), params={})


class Training(Drawing):
    """It fits to T and does not say so."""

    def draw(self, state, synthetic, ctx):
        fresh = ctx.fresh()
        (params,) = ctx.gate.fit(fresh, dd.Fit(epochs=None, steps=1))
        return replace(fresh, params=params)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Drawing, r"^$"),
        (Meddling, r"meddling changes S as it draws"),
        (Remembering, r"remembering remembers what no checkpoint holds"),
        (Elsewhere, r"elsewhere remembers other things than its memory says"),
        (Foreign, r"foreign draws parameters that are none of the network's"),
        (Training, r"training asks fit of the gate and does not say so"),
    ],
)
def test_a_wrong_policy(policy, sentence, told):
    assert re.search(sentence, told(testing.check_policy, policy()))
