"""Defences that repair a network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_backdoor.learning import head
from ddcore_backdoor.suspect import Defence, Suspect, Verdict


@dataclass(frozen=True)
class FineTuning(Defence):
    """The network is trained further on the clean items, by Adam.

    **Reference**: Liu et al., Neural Trojans, ICCD 2017.
    """

    steps: dd.Count = 100
    """Training steps."""
    batch: dd.Count = 64
    """Clean items of a step."""
    lr: dd.Positive = 1e-3
    """Learning rate of Adam."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        params = {name: value.clone().requires_grad_() for name, value in suspect.draw.params.items()}
        draw = replace(suspect.draw, params=params)
        optimiser = torch.optim.Adam(params.values(), lr=self.lr)
        for _ in range(self.steps):
            rows = torch.randperm(len(suspect.clean), generator=rng["tuning"])[: self.batch].to(suspect.clean.device)
            loss = F.cross_entropy(draw(suspect.clean[rows][None])[0], suspect.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return Verdict(repaired=replace(draw, params={name: value.detach() for name, value in params.items()}))


@dataclass(frozen=True)
class Pruning(Defence):
    """Neurons of the last layer's input that clean items hardly move are taken out, the quietest first.

    One in twenty is taken out at a time, as long as the clean items stay within ``tolerance`` of what they were right.

    **Reference**: Liu, Dolan-Gavitt and Garg, Fine-Pruning, RAID 2018; followed by ``fine_tuning``, it is that.

    **Differs**: single inputs of the last layer, not whole channels of the last convolution.
    """

    tolerance: dd.Share = 0.04
    """By how much the share of clean items that are right may fall. Published: 0.04."""
    then: FineTuning | None = None
    """Fine-tuning of what is left; none by default."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        quietest = suspect.features(suspect.clean).abs().mean(0).argsort()
        least = suspect.right(suspect.draw) - self.tolerance
        pruned = suspect.draw
        for out in range(len(quietest) // 20, len(quietest), max(1, len(quietest) // 20)):
            tried = without(suspect.draw, suspect.clean[:1], quietest[:out])
            if suspect.right(tried) < least:
                break
            pruned = tried
        if self.then is None:
            return Verdict(repaired=pruned)
        return self.then.examine(replace(suspect, draw=pruned), rng)


def without(draw: dd.Draw, images: torch.Tensor, neurons: torch.Tensor) -> dd.Draw:
    """``draw`` whose last layer does not hear the ``neurons`` (m,) of its input."""
    name, weights = head(draw, images)
    return replace(draw, params={**draw.params, name: weights.index_fill(-1, neurons, 0)})
