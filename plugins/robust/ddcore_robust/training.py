"""Adversarial training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Victim


@dataclass(frozen=True, eq=False)
class Against:
    """For ``dd.train(attack=)``: each batch is moved by ``attack`` against the nets that are trained on it.

    ``preprocess`` is undone first and done again afterwards, so that the ball is one of raw values. ``loss`` is the one
    that the targets are made for (``dd.LOSSES[training.loss]``).

    **Reference**: Madry et al., ICLR 2018, Eq. 2.1.
    """

    attack: Attack
    preprocess: dd.Fitted
    loss: dd.ItemLoss
    generator: torch.Generator

    def __call__(self, draw: dd.Draw, inputs: Tensor, targets: Tensor) -> Tensor:
        nets = inputs.shape[:2]

        def logits(x: Tensor) -> Tensor:
            return draw(self.preprocess(x).unflatten(0, nets), training=False).flatten(0, 1)

        raw = self.preprocess.inverse(inputs.flatten(0, 1))
        moved = self.attack(Victim(logits, self.loss), raw, targets.flatten(0, 1), self.generator)
        return self.preprocess(moved).unflatten(0, nets)
