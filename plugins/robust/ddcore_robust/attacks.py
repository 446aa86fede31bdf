"""Attacks: items moved within a ball to where a network fails."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd
from ddcore_robust.balls import Ball, Linf

FGSM = dd.Citation(
    "goodfellow2015fgsm",
    "Goodfellow, Ian J. and Shlens, Jonathon and Szegedy, Christian",
    "Explaining and Harnessing Adversarial Examples",
    "International Conference on Learning Representations",
    2015,
)
PGD = dd.Citation(
    "madry2018pgd",
    "Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and Vladu, Adrian",
    "Towards Deep Learning Models Resistant to Adversarial Attacks",
    "International Conference on Learning Representations",
    2018,
)


@dataclass(frozen=True)
class Victim:
    """What is attacked: a network that takes raw items, and the loss that the attack raises."""

    logits: Callable[[Tensor], Tensor]
    """Raw items (n, ...) to logits (n, k)."""
    loss: dd.ItemLoss = dd.cross_entropy
    """Of logits and targets, one value per item (n,)."""

    @staticmethod
    def of(draw: dd.Draw, preprocess: dd.Transform, loss: dd.ItemLoss = dd.cross_entropy) -> Victim:
        """The single net ``draw``, which takes preprocessed items, as it is in evaluation."""
        return Victim(lambda x: draw(preprocess(x), training=False), loss)

    def classes(self, x: Tensor) -> int:
        """How many classes it tells apart."""
        with torch.no_grad():
            return self.logits(x[:1]).shape[1]

    def gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, k) of the items ``x`` (n, ...) with targets ``y``, and the gradients (n, ...) of their losses."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self.logits(x)
            (found,) = torch.autograd.grad(self.loss(logits, y).sum(), x)
        return logits.detach(), found


class Attack(dd.Part, kind="attack"):
    """Moves raw items within a ball and within [0, 1]."""

    @abstractmethod
    def __call__(self, victim: Victim, x: Tensor, y: Tensor, generator: Generator, stop: bool = False) -> Tensor:
        """The raw items ``x`` (n, ...) with targets ``y``, (n,) or (n, k), moved to where the loss is larger.

        ``stop``: an item of a class (``y`` is (n,)) stays where it is first taken for another. That is how networks are
        measured; they are trained on where the loss is largest.
        """

    def ready(self, card: dd.DataCard) -> None:
        """Refuse what cannot be attacked, before any work.

        Raises:
            RecipeRefused: nothing bounds the raw items, or what the attack needs is not installed.
        """
        if not card.unit_range:
            raise dd.RecipeRefused(
                f"The attack {self.part_name()} moves items within [0, 1], but those of {card.name} came as floats,"
                " whose range is not known. Give them as uint8 (0 to 255), which says that white is 1."
            )


@dataclass(frozen=True)
class Unmoved(Attack):
    """Moves nothing: what attacks are compared with, on the same items."""

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, generator: Generator, stop: bool = False) -> Tensor:
        return x


@dataclass(frozen=True)
class Pgd(Attack):
    """Projected gradient ascent: x <- P( x + a_i d ), d the steepest direction of the loss, from a random start.

    P brings an item back into the ball and into [0, 1].

    **Reference**: Madry et al., ICLR 2018, Section 2.1; from the authors' code, constant steps of 2.5 epsilon / steps.

    **Differs**: step i of n is epsilon (1 + cos(pi i / n)): long steps leave the start behind, short ones end where the
    loss is largest. Constant steps do one or the other: they found up to 1.9 points less.
    """

    ball: Ball = field(default_factory=Linf)
    """How far an item may be moved."""
    steps: dd.Count = 20
    """Gradient steps. Published: 7 to 100."""
    step: dd.Positive | None = None
    """A constant step size a, in units of the ball's epsilon. Published: 2.5 / steps. None for steps that fall."""
    random: bool = True
    """Whether it begins at a random item of the ball; false begins at the item itself."""

    cites = (PGD,)

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, generator: Generator, stop: bool = False) -> Tensor:
        sizes = [self.step or 1 + math.cos(math.pi * i / self.steps) for i in range(self.steps)]
        found, left = x.clone(), torch.arange(len(x), device=x.device)
        at = self.ball.drawn(x, generator) if self.random else x
        for size in sizes:
            logits, gradient = victim.gradient(at, y[left])
            if stop:
                right = logits.argmax(1) == y[left]
                found[left[~right]] = at[~right]
                at, gradient, left = at[right], gradient[right], left[right]
                if not len(left):
                    return found
            at = self.ball.project(at + size * self.ball.epsilon * self.ball.steepest(gradient), x[left])
        found[left] = at
        return found


@dataclass(frozen=True)
class Fgsm(Attack):
    """One step of the ball's radius in the steepest direction of the loss at the item itself.

    **Reference**: Goodfellow, Shlens and Szegedy, ICLR 2015, Section 4.
    """

    ball: Ball = field(default_factory=Linf)
    """How far an item is moved."""

    cites = (FGSM,)

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, generator: Generator, stop: bool = False) -> Tensor:
        return Pgd(self.ball, steps=1, step=1.0, random=False)(victim, x, y, generator, stop)
