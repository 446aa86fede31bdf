"""The items of S as a network names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ddcore.bounds import NotNegative
from ddcore.context import Context
from ddcore.objectives.base import Objective
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw


@dataclass(frozen=True)
class Recognised(Objective):
    """L = b k mean_n l( z(A(x_n)), y_n ) over the items of S: they are to be seen as what they stand for; no T.

    z are the outputs of a network, l is the loss that S's labels are made for, and A the recipe's augmentation, drawn
    separately for each item. It is a term beside another objective, which matches S with T.

    **References**: Zhao et al., IDM, CVPR 2023, Section 4.3 (class-aware regularisation); ``expert``, Zhang et al.,
    DANCE, IJCAI 2024 (distribution calibration).
    """

    weight: NotNegative = 0.5
    """Weight b; with the factor k, the number of classes, it counts once per class. Published for IDM: 0.1 to 0.8."""
    expert: bool = False
    """Whether the judge is the network at its ``target``, where its training leads, instead of the step's network."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs", *(["target"] if self.expert else [])})

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        params = draw.target if self.expert else draw.params
        scale = self.weight * ctx.card.classes / len(synthetic)
        total = torch.zeros((), device=ctx.device)
        for rows in torch.arange(len(synthetic), device=ctx.device).split(min(ctx.room, len(synthetic))):
            inputs, targets = synthetic.take(rows)
            outputs = draw(ctx.transform(len(rows))(inputs), params)
            loss = scale * synthetic.labels.loss(outputs, targets).sum()
            loss.backward()
            total += loss.detach()
        yield float(total)
