"""Feature alignment: the means of all layers, and centres of S that tell the classes of T apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore.bounds import Count, NotNegative
from ddcore.context import Context
from ddcore.losses import cross_entropy
from ddcore.networks.probe import by_centres, class_means, layers
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import class_batches
from ddcore.store import joined
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group


@dataclass(frozen=True)
class LayerMatch(Objective):
    """L = sum_c sum_l w_l || mean_n f_l(T_c) - mean_n f_l(S_c) ||^2 + b sum_n -log softmax( M f(x_n) )[y_n].

    f_l runs over the outputs of all blocks and of the network, first to last. M (k, d) holds the class means of f over
    S, f is the input of the last layer, and n runs over the items of T. Each class has one augmentation, shared by T
    and S. It reports the first term: of the second the gate gives the gradient with respect to M, which S then gets
    through its features.

    **Reference**: Wang et al., CAFE, CVPR 2022, Sections 3.2 and 3.3.

    **Differs**: the two terms draw their items separately.
    """

    classes_only = True

    weights: tuple[NotNegative, ...] = (1.0, 1.0, 0.1, 0.1)
    """Weights w_l of the layers, first to last; the last one holds for all further layers."""
    discrimination: NotNegative = 0.01
    """Weight b of the second term; 0 leaves it out. Published: 0.01."""
    real: Count = 256
    """Items of T per class and step."""

    def faults(self) -> Iterator[str]:
        if not self.weights:
            yield "weights is empty: give at least one"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"features", "gradient"} if self.discrimination else {"features"})

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", "blocks"})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        classes = range(ctx.card.classes)
        groups = [Group((c,), self.real, ctx.transform()) for c in classes]
        probe = layers(draw, self.weights)
        real = ctx.gate.features(probe, groups)
        pull = self._pull(draw, synthetic, groups, ctx) if self.discrimination else None
        total = torch.zeros((), device=ctx.device)
        for lot in class_batches(synthetic, classes, ctx):
            inputs = [groups[c].seen(synthetic.take(synthetic.pick([c]))[0]) for c in lot]
            sizes = [len(x) for x in inputs]
            answers = ctx.gate.clip_features(probe(joined(inputs), features=True)).split(sizes)
            loss = (torch.stack([real[c] for c in lot]) - torch.stack([a.mean(0) for a in answers])).square().sum()
            total += loss.detach()
            if pull is not None:
                centres = torch.stack([f.mean(0) for f in draw(joined(inputs), features=True).split(sizes)])
                loss = loss + (centres * pull[lot]).sum()
            loss.backward()
        yield float(total)

    def _pull(self, draw: Draw, synthetic: SyntheticSet, groups: list[Group], ctx: Context) -> torch.Tensor:
        """The gradient (k, d) of the second term with respect to the centres."""
        with torch.no_grad():
            seen = [group.seen(synthetic.take(synthetic.pick(group.classes or ()))[0]) for group in groups]
            features = torch.cat([draw(x, features=True) for x in seen])
        owners = torch.arange(len(groups), device=features.device).repeat_interleave(
            torch.tensor([len(x) for x in seen], device=features.device)
        )
        centres = class_means(features, owners, len(groups))
        answers = ctx.gate.gradient(by_centres(draw, centres), groups, cross_entropy)
        items = [min(self.real, count) for count in ctx.card.counts]
        return self.discrimination * torch.stack([n * g["centres"] for n, g in zip(items, answers, strict=True)]).sum(0)
