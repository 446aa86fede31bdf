"""The view: adversarial items of T, made against the network that asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Pgd, Victim


@dataclass(frozen=True)
class Attacked(dd.View, name="pgd"):
    """Items of T are moved to where the loss of the network that a request is made for is larger.

    The loss is the one whose gradient is asked for; the cross-entropy of the network's logits where its features are.
    Under an objective that fits a predictor to S the predictor itself is attacked, and during a fit the network in
    training. Without a network, as for a real start of S, items stay as they are.
    """

    attack: Attack = field(default_factory=lambda: Pgd(steps=10))
    """What moves them."""
    share: dd.PositiveShare = 1.0
    """Probability that an item is attacked; the others stay clean."""
    clean: dd.Whole = 0
    """First steps of S in which all items stay clean."""

    classes_only = True

    @property
    def itemwise(self) -> bool:
        return True

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        self.attack.ready(card)
        if self.clean >= recipe.iterations:
            raise dd.RecipeRefused(
                f"The view pgd leaves the first {self.clean} steps clean, and {recipe.name} makes {recipe.iterations}:"
                " nothing would be attacked. Take fewer clean steps, or leave the view out."
            )

    def build(self, store: dd.Store, rng: dd.Streams) -> LiveAttacked:
        return LiveAttacked(self, rng["attack"])


class LiveAttacked(dd.LiveView):
    def __init__(self, plan: Attacked, generator: torch.Generator) -> None:
        self.plan, self.generator, self.steps = plan, generator, 0

    def follow(self, draw: dd.Draw) -> None:
        self.steps += 1

    def apply(self, batch: dd.Batch, draw: dd.Draw | None) -> dd.Batch:
        if draw is None or self.steps <= self.plan.clean:
            return batch
        victim = Victim(lambda x: draw(x, training=False), draw.loss or dd.cross_entropy)
        size = dd.chunk_size(draw, tuple(batch.inputs.shape[1:]))
        moved = torch.cat(
            [
                self.plan.attack(victim, batch.inputs[part], batch.targets[part], self.generator)
                for part in dd.slices(len(batch), size)
            ]
        )
        chosen = torch.rand(len(batch), generator=self.generator).to(moved) < self.plan.share
        kept = chosen.view(-1, *[1] * (moved.ndim - 1))
        return dd.Batch(torch.where(kept, moved, batch.inputs), batch.targets, batch.index)

    def facts(self) -> dict[str, Any]:
        return {"attacked": [dd.to_dict(self.plan.attack)]}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
