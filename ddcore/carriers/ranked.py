"""Real images, chosen by a score of each or by how they cover their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddcore.carriers.chosen import Chosen, Judged, answers
from ddcore.carriers.picking import farthest
from ddcore.context import Context
from ddcore.gate.fit import Fit
from ddcore.losses import error_norm
from ddcore.store import Inputs
from ddcore.types import Batch, Draw, Group

Keeps = Literal["easy", "hard"]


@dataclass(frozen=True)
class Scored(Judged):
    """Real items by their score || softmax( f(x) ) - onehot(y) ||, with f one network trained on T for a short time.

    **Reference**: Paul et al., NeurIPS 2021, Section 2 (EL2N).

    **Differs**: the score of one network, theirs is the mean of ten.
    """

    classes_only = True

    fit: Fit = Fit(steps=50)
    """How the network that scores is trained."""
    keeps: Keeps = "easy"
    """Which items of each class are taken: those of the lowest or of the highest scores. Few items represent a class
    by its easy ones; published, for half of T and more: ``hard``."""

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        return _taken(batch, error_norm(answers(draw, batch, ctx), c), self.keeps, self.per_class(ctx.card)[c], ctx)


@dataclass(frozen=True)
class Forgotten(Chosen):
    """Real items by how often a network that is trained on T forgets them: right at one snapshot, wrong at the next.

    What is right at none counts as forgotten most; among equals chance decides.

    **Reference**: Toneva et al., ICLR 2019, Section 2.

    **Differs**: snapshots of the training are compared, the paper's are taken whenever an item is in a batch.
    """

    classes_only = True

    fit: Fit = Fit(steps=200, snapshots=20)
    """How the network is trained, and at how many points of it items are tried."""
    keeps: Keeps = "easy"
    """Which items of each class are taken: those forgotten least or most. Published, for a part of T that is to train
    as well as all of it: ``hard``."""

    def prepare(self, ctx: Context) -> Draw:
        draw = ctx.fresh()
        points = ctx.gate.fit(draw, self.fit, "training the network that forgets", ctx.progress)
        params = {name: torch.stack([point[name] for point in points]) for name in points[0]}
        buffers = {name: torch.stack([value] * len(points)) for name, value in draw.buffers.items()}
        return Draw(draw.network, params, buffers, ensemble=len(points))

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        right = answers(draw, batch, ctx).argmax(2) == c
        return _taken(batch, forgotten(right), self.keeps, self.per_class(ctx.card)[c], ctx)


@dataclass(frozen=True)
class Covering(Judged):
    """Real items that cover their class: each next one is the farthest from those taken, the first the nearest to the
    mean, by the features of one network trained on T.

    **Reference**: Sener and Savarese, ICLR 2018, Algorithm 1 (k-center greedy).
    """

    fit: Fit = Fit()
    """How the network whose features are compared is trained."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"})

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        rows = farthest(answers(draw, batch, ctx, features=True), self.per_class(ctx.card)[c])
        return batch.inputs[rows], batch.targets[rows]


def forgotten(right: Tensor) -> Tensor:
    """How often each item (n,) is forgotten over the points of ``right`` (t, n); what is right at none, t times."""
    falls = (right[:-1] & ~right[1:]).sum(0)
    return falls.where(right.any(0), len(right)).float()


def _taken(batch: Batch, score: Tensor, keeps: Keeps, n: int, ctx: Context) -> tuple[Inputs, Tensor]:
    """The ``n`` items of the lowest or highest ``score`` (m,); chance decides among equals."""
    mixed = torch.randperm(len(score), generator=ctx.rng["ties"])
    rows = mixed[score.cpu()[mixed].argsort(descending=keeps == "hard", stable=True)][:n]
    return batch.inputs[rows], batch.targets[rows]
