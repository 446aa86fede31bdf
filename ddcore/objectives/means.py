"""What compares S with T by the mean features of each class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.bounds import Count
from ddcore.context import Context
from ddcore.device import sent
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import class_batches
from ddcore.store import apart, joined
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class ClassMeans(Objective):
    """The mean features of each class of S against those of T, under one augmentation per class."""

    classes_only = True

    real: Count = 256
    """Items of T per class and step. Published: 256."""
    batch: Count | None = None
    """Items of S per class and step, drawn without replacement, so that a step's time does not grow with S; None for
    all of them."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features"})

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "features"})

    @abstractmethod
    def seen(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Draw:
        """``draw`` with the features whose means are compared."""

    @abstractmethod
    def distance(self, draw: Draw, real: Tensor, made: Tensor, share: float) -> Tensor:
        """How far the means ``made`` (k, d) of classes of S are from those of T, ``real``, summed over the classes.

        They are that ``share`` of all classes, by which a mean over the classes is weighted.
        """

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        groups = [Group((c,), self.real, ctx.transform()) for c in range(ctx.card.classes)]
        draw = self.seen(draw, synthetic, ctx)
        real = ctx.gate.features(draw, groups)
        total = torch.zeros((), device=ctx.device)
        for lot in class_batches(synthetic, range(ctx.card.classes), ctx, self.batch):
            rows = [self._some(synthetic.pick([c]), ctx) for c in lot]
            made = iter(apart(synthetic.take(torch.cat(rows))[0], [len(r) for r in rows]))
            inputs = [groups[c].seen(next(made)) for c in lot]
            features = ctx.gate.clip_features(draw(joined(inputs), features=True))
            means = torch.stack([f.mean(0) for f in features.split([len(x) for x in inputs])])
            loss = self.distance(draw, torch.stack([real[c] for c in lot]), means, len(lot) / len(groups))
            loss.backward()
            total += loss.detach()
        yield float(total)

    def _some(self, rows: Tensor, ctx: Context) -> Tensor:
        """``batch`` of the ``rows`` of a class, or all."""
        if self.batch is None or len(rows) <= self.batch:
            return rows
        return rows[sent(torch.randperm(len(rows), generator=ctx.rng["batches"])[: self.batch], ctx.device)]
