"""What a trigger does to trained networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_backdoor.poison import poisonings
from ddcore_backdoor.triggers import Patch, Trigger


@dataclass(frozen=True)
class AttackSuccess(dd.Measure):
    """Test items of other classes that are taken for the target once they bear the trigger, in percent.

    The trigger, its pattern and the target are those that the set's card tells of, in ``ddcore evaluate`` as after a
    run; the networks of baselines are asked about the same one. A set that tells of none is asked about ``trigger``.

    **Differs**: Liu et al. (NDSS 2023) count items of the target too, which adds their share.
    """

    suits = frozenset({"image"})
    classes_only = True
    unit: ClassVar[str] = "%"

    trigger: Trigger | None = None
    """The trigger; None for the one on the set's card, or a white patch where there is none."""
    target: dd.Whole = 0
    """The class that it shall lead to, where the card does not say so."""
    which: dd.Whole = 0
    """Which one, of a card that tells of several triggers."""

    def of(self, distilled: dd.DistilledSet) -> AttackSuccess:
        told = poisonings(distilled) if self.trigger is None else []
        if not told:
            return self
        if self.which >= len(told):
            raise dd.RecipeRefused(
                f"which = {self.which}, but the card of the set tells of {len(told)} triggers, the first of which is 0."
            )
        return replace(self, trigger=told[self.which].trigger, target=told[self.which].target)

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:  # type: ignore[override]
        fooled, others = torch.zeros(draw.ensemble or 1), 0
        for logits, targets in dd.predictions(draw, stamped(data, self.trigger or Patch()), chunk):
            mine = targets != self.target
            fooled += (logits.argmax(2) == self.target)[:, mine].sum(1)
            others += int(mine.sum())
        return 100 * fooled / max(1, others)


@dataclass(frozen=True)
class Stamped(dd.Preprocessed):
    """Real items all of which bear a trigger; they keep their labels."""

    trigger: Trigger = Patch()

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = super().take(index)
        return self.preprocess(self.trigger(self.preprocess.inverse(inputs))), targets


def stamped(data: dd.Preprocessed, trigger: Trigger) -> Stamped:
    """``data`` all of whose items bear ``trigger``."""
    return Stamped(data.store, data.preprocess, trigger=trigger)
