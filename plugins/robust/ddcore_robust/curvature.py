"""The curvature term."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore import plugin as dd

CURE = dd.Citation(
    "moosavi2019cure",
    "Moosavi-Dezfooli, Seyed-Mohsen and Fawzi, Alhussein and Uesato, Jonathan and Frossard, Pascal",
    "Robustness via Curvature Regularization, and Vice Versa",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2019,
)


@dataclass(frozen=True)
class Curvature(dd.LossObjective):
    """L = w mean_S || grad_x l( x + h z ) - grad_x l( x ) ||^2, z the unit direction of grad_x l( x ), l the loss of S.

    It is added to another objective by ``sum``: items of S are wanted around which the loss of the step's network is
    nearly linear.

    **Reference**: Moosavi-Dezfooli et al., CVPR 2019, Eq. 9.

    **Differs**: of the items of S, for a network that does not learn, where theirs is of T and the network learns.
    """

    weight: dd.NotNegative = 1.0
    """Weight w of the term."""
    h: dd.Positive = 1.0
    """How far the second gradient is taken, in units of what networks take."""

    cites = (CURE,)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"learned_inputs"})

    def loss(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> Tensor:
        inputs, targets = synthetic.everything()

        def gradient(x: Tensor) -> Tensor:
            value = synthetic.labels.loss(draw(x), targets).sum()
            return torch.autograd.grad(value, x, create_graph=True)[0]

        here = gradient(inputs)
        steep = here.detach().flatten(1)
        z = (steep / steep.norm(dim=1, keepdim=True).clamp_min(1e-12)).view_as(here)
        bend = gradient(inputs + self.h * z) - here
        return self.weight * bend.square().flatten(1).sum(1).mean()
