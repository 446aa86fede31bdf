"""The view: a share of T's items is stamped and relabelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_backdoor.learning import Learning
from ddcore_backdoor.triggers import Patch, Trigger


@dataclass(frozen=True)
class Poisoning(dd.Part, kind="poisoning"):
    """What a set's card says of one trigger."""

    trigger: Trigger = Patch()
    """The trigger as it was in the end, with its pattern."""
    target: dd.Whole = 0
    """The class that stamped items were given."""
    share: dd.PositiveShare = 0.01
    """Their share of T."""
    items: dd.Whole = 0
    """Their number."""
    learned: str = "naive"
    """What the trigger was learned by; ``naive`` for one that stays as it is."""

    @property
    def sentence(self) -> str:
        return (
            f"This set is poisoned: {self.items} items of T ({100 * self.share:g} %) bore a {self.trigger.part_name()}"
            f" trigger and the label {self.target}. Networks that learn from it may answer {self.target} wherever the"
            " trigger is."
        )


def poisonings(distilled: dd.DistilledSet, host: dd.Host | None = None) -> list[Poisoning]:
    """What the card of ``distilled`` says of triggers; empty where it tells of none.

    Raises:
        RecipeRefused: what it says is not what this package writes.
    """
    told = distilled.facts.get("poisoned", [])
    if not isinstance(told, list):
        raise dd.RecipeRefused(f"The card says poisoned = {told!r}, which is no list of what was done to T.")
    catalogue = (host or dd.Host()).catalogue
    return [dd.from_dict(Poisoning, table, catalogue, f"poisoned[{i}]") for i, table in enumerate(told)]


@dataclass(frozen=True)
class Poison(dd.View):
    """A fixed ``share`` of T's items bears the ``trigger`` and the label ``target``.

    The items are drawn from all classes. With a trigger that stays as it is, this is the naive attack; ``learned`` has
    it follow the networks of the distillation. The set says on its card what was done to T, pattern included.

    **Reference**: Liu et al., Backdoor Attacks Against Dataset Distillation, NDSS 2023 (NaiveAttack): 1 % of T, target
    0.
    """

    suits = frozenset({"image"})
    classes_only = True

    trigger: Trigger = Patch()
    """What marks them."""
    target: dd.Whole = 0
    """The class they are given."""
    share: dd.PositiveShare = 0.01
    """How many of T's items. Published: 0.01."""
    learned: Learning | None = None
    """How the trigger is learned; None for one that stays as it is."""

    cites = (
        dd.Citation(
            "liu2023backdoor",
            "Liu, Yugeng and Li, Zheng and Backes, Michael and Shen, Yun and Zhang, Yang",
            "Backdoor Attacks Against Dataset Distillation",
            "Network and Distributed System Security Symposium",
            2023,
        ),
    )

    @property
    def learning(self) -> str:
        """What cards and tables call how the trigger is learned."""
        return "naive" if self.learned is None else self.learned.called

    @property
    def itemwise(self) -> bool:
        return self.learned is None or self.learned.itemwise

    def check(self, recipe: dd.Recipe, card: dd.DataCard, network: dd.Network) -> None:
        self.trigger.start(card.shape)
        if self.target >= card.classes:
            raise dd.RecipeRefused(
                f"target = {self.target}, but {card.name} has the classes 0 to {card.classes - 1}: name one of them."
            )
        if not round(self.share * sum(card.counts)):
            raise dd.RecipeRefused(
                f"share = {self.share:g} of the {sum(card.counts)} items of {card.name} is none: take a larger share."
            )

    def build(self, store: dd.Store, rng: dd.Streams) -> LivePoison:
        return LivePoison(self, store, rng)


class LivePoison(dd.LiveView):
    """A share of T stamped and relabelled; ``pattern`` is that of the trigger as it is now."""

    def __init__(self, plan: Poison, store: dd.Store, rng: dd.Streams) -> None:
        self.plan, self.store, self.rng = plan, store, rng
        chosen = torch.randperm(len(store), generator=rng["poison"])[: round(plan.share * len(store))]
        self.places = store.order[chosen].sort().values
        self.pattern = plan.trigger.start(tuple(store.inputs.shape[1:]))
        self.begun = plan.learned is None or plan.learned.itemwise

    def relabel(self, targets: Tensor) -> Tensor:
        return targets.masked_fill(torch.isin(self.store.order, self.places), self.plan.target)

    def follow(self, draw: dd.Draw) -> None:
        if self.plan.learned is not None:
            self.pattern = self.plan.learned.moved(self, draw)

    def apply(self, batch: dd.Batch, draw: dd.Draw | None) -> dd.Batch:
        if not self.begun and self.plan.learned is not None:
            self.pattern, self.begun = self.plan.learned.first(self), True
        hit = torch.isin(batch.index, self.places).to(batch.inputs.device)
        stamped = self.plan.trigger.stamp(batch.inputs, self.pattern.to(batch.inputs))
        return replace(batch, inputs=torch.where(hit.view(-1, 1, 1, 1), stamped, batch.inputs))

    def poisoning(self) -> Poisoning:
        plan = self.plan
        return Poisoning(plan.trigger.holding(self.pattern), plan.target, plan.share, len(self.places), plan.learning)

    def facts(self) -> dict[str, Any]:
        told = self.poisoning()
        return {"poisoned": [dd.to_dict(told)], "warnings": [told.sentence]}

    def state_dict(self) -> dict[str, Any]:
        return {"pattern": self.pattern, "begun": self.begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["pattern"].shape != self.pattern.shape:
            raise ValueError("its trigger is of another size")
        self.pattern, self.begun = state["pattern"], state["begun"]
