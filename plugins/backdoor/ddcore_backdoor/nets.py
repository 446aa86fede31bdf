"""Defences that look at a network and at what it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_backdoor.learning import each
from ddcore_backdoor.suspect import Defence, Suspect, Verdict, anomalies

FEW = 3
"""Classes for which a trigger must be found before one can stand out."""


@dataclass(frozen=True)
class Reconstruction(Defence):
    """For each class the smallest trigger that leads to it is sought; a class with one far smaller is accused.

    With m the mask and p the pattern, it minimises the mean cross-entropy of (1 - m) x + m p and the class, plus a cost
    times |m|_1, over clean items x. The cost grows while ``wanted`` of the items are led there, and falls otherwise;
    the smallest mask that did lead them is kept.

    **Reference**: Wang et al., Neural Cleanse, S&P 2019: Adam at 0.1, a cost that begins at 0.001 and is multiplied by
    1.5, 99 % wanted, an anomaly index above 2.

    **Differs**: the cost is changed after every 5 steps, and there are fewer steps.
    """

    steps: dd.Count = 100
    """Moves of mask and pattern for each class."""
    batch: dd.Count = 64
    """Clean items of a step."""
    lr: dd.Positive = 0.1
    """Learning rate of Adam. Published: 0.1."""
    wanted: dd.PositiveShare = 0.99
    """Share of the items that a trigger must lead to the class. Published: 0.99."""
    threshold: dd.Positive = 2.0
    """Anomaly index above which a class is accused. Published: 2."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        sizes = torch.stack([self.smallest(suspect, c, rng["reconstruction"]) for c in range(suspect.classes)])
        found = sizes.isfinite()
        if found.sum() < FEW:
            return Verdict(())
        index = anomalies(-sizes[found])
        return Verdict(tuple(found.nonzero().flatten()[index > self.threshold].tolist()))

    def smallest(self, suspect: Suspect, target: int, generator: torch.Generator) -> Tensor:
        """|m|_1 of the smallest trigger found that leads to ``target``; infinite where none was."""
        raw = suspect.preprocess.inverse(suspect.clean)
        shape = raw.shape[1:]
        mask = torch.full((1, *shape[1:]), -1.0, device=raw.device, requires_grad=True)
        pattern = torch.zeros(tuple(shape), device=raw.device, requires_grad=True)
        optimiser = torch.optim.Adam([mask, pattern], lr=self.lr, betas=(0.5, 0.9))
        best, cost, led = torch.tensor(math.inf), 1e-3, []
        for step in range(self.steps):
            rows = torch.randperm(len(raw), generator=generator)[: self.batch].to(raw.device)
            m = mask.sigmoid()
            logits = suspect.logits(suspect.preprocess((1 - m) * raw[rows] + m * pattern.sigmoid()))
            wanted = torch.full((len(rows),), target, device=raw.device)
            size = m.sum()
            gradients = torch.autograd.grad(F.cross_entropy(logits, wanted) + cost * size, [mask, pattern])
            mask.grad, pattern.grad = gradients
            optimiser.step()
            led.append(float((logits.argmax(1) == target).float().mean()))
            if led[-1] >= self.wanted:
                best = torch.minimum(best, size.detach().cpu())
            if step % 5 == 4:
                cost = cost * 1.5 if min(led[-5:]) >= self.wanted else cost / 1.5**1.5
        return best


@dataclass(frozen=True)
class Strip(Defence):
    """An input whose class stands although clean items are laid over it is refused.

    The entropy of the answers to (x + x_i) / 2, over ``overlays`` clean items x_i, is low for an input with a trigger.
    Refused is what lies below the quantile ``refused`` of a Gaussian fitted to the entropies of clean items.

    **Reference**: Gao et al., STRIP, ACSAC 2019: 100 items laid over, 1 % refused.
    """

    overlays: dd.Count = 20
    """Clean items that are laid over each input. Published: 100."""
    refused: dd.OpenShare = 0.01
    """Share of clean inputs that may be refused. Published: 0.01."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        raw = suspect.preprocess.inverse(suspect.clean)
        chosen = torch.randperm(len(raw), generator=rng["strip"])
        over, rest = (raw[rows.to(raw.device)] for rows in (chosen[: self.overlays], chosen[self.overlays :]))
        entropies = entropy(suspect.draw, rest if len(rest) else over, over, suspect.preprocess)
        normal = torch.distributions.Normal(entropies.mean(), entropies.std().clamp_min(1e-9))
        threshold = float(normal.icdf(torch.tensor(self.refused)))

        def refuses(inputs: Tensor) -> Tensor:
            items = suspect.preprocess.inverse(inputs.to(over.device))
            parts = items.split(max(1, 256 // len(over)))
            return torch.cat([entropy(suspect.draw, part, over, suspect.preprocess) for part in parts]) < threshold

        return Verdict(refuses=refuses)


def entropy(draw: dd.Draw, raw: Tensor, over: Tensor, preprocess: dd.Fitted) -> Tensor:
    """The mean entropy (n,), in nats, of the answers to ``raw`` items (n, ...) under each of ``over`` (m, ...)."""
    with torch.no_grad():
        blends = (raw[:, None] + over) / 2
        shares = each(draw, preprocess(blends.flatten(0, 1)))[0].softmax(1)
        return torch.special.entr(shares).sum(1).view(len(raw), len(over)).mean(1)
