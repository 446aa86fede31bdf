"""AutoAttack, by its own package."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

from torch import Generator, Tensor, nn

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Victim
from ddcore_robust.balls import Ball, Linf

AUTOATTACK = dd.Citation(
    "croce2020autoattack",
    "Croce, Francesco and Hein, Matthias",
    "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-Free Attacks",
    "International Conference on Machine Learning",
    2020,
)
FEWEST = 4
"""Classes that the loss of its targeted attacks needs."""
TARGETS = 9
"""Classes that a targeted attack tries at most. Published: 9."""
Single = Literal["apgd-ce", "apgd-t", "fab-t", "square"]


@dataclass(frozen=True)
class AutoAttack(Attack, name="autoattack"):
    """Four attacks without settings, one after another on the items that are still classified rightly.

    They bring losses of their own, so this is for measuring. It takes minutes for each net.

    **Reference**: Croce and Hein, ICML 2020, the standard version, by the package pyautoattack.
    """

    ball: Ball = field(default_factory=Linf)
    """How far an item may be moved."""
    attacks: tuple[Single, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
    """The attacks, in this order; all four are the standard version."""

    cites = (AUTOATTACK,)

    def ready(self, card: dd.DataCard) -> None:
        super().ready(card)
        if find_spec("pyautoattack") is None:
            raise dd.RecipeRefused(
                "AutoAttack needs the package pyautoattack: pip install 'ddcore-robust[autoattack]'."
            )
        if card.kind != "image" or card.classes < FEWEST:
            raise dd.RecipeRefused(
                f"AutoAttack is for images of at least {FEWEST} classes, and {card.name} has {card.kind}s of"
                f" {card.classes}. Take the attack pgd with more steps."
            )

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, generator: Generator, stop: bool = False) -> Tensor:
        from pyautoattack import AutoAttack as Standard

        with dd.forked(generator):  # it seeds the global generator
            given: dict[str, Any] = {"eps": self.ball.epsilon, "norm": self.ball.norm, "device": x.device, "seed": 0}
            attack: Any = Standard(_Module(victim), **given)
            attack.attacks_to_run = list(self.attacks)
            attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(TARGETS, victim.classes(x) - 1)
            moved, _ = attack.run_standard_evaluation(x, y, batch_size=len(x))
        return moved


class _Module(nn.Module):
    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, x: Tensor) -> Tensor:
        return self.victim.logits(x)
