"""What a defender holds, and what a defence says of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_backdoor.learning import each


@dataclass(frozen=True)
class Suspect:
    """What a defender holds: a set that was given, a network that learned from it, and a few clean items.

    Items are preprocessed, and all tensors are on the network's device.
    """

    inputs: Tensor
    """The set's items (n, ...)."""
    targets: Tensor
    """Their classes (n,)."""
    draw: dd.Draw
    """One net that was trained on it: an ensemble of one."""
    clean: Tensor
    """Items (m, ...) that are known to be clean."""
    labels: Tensor
    """Their classes (m,)."""
    preprocess: dd.Fitted
    """What raw items go through before the network sees them."""
    classes: int

    def features(self, inputs: Tensor) -> Tensor:
        """The input (n, d) of the net's last layer for ``inputs`` (n, ...)."""
        with torch.no_grad():
            return torch.cat([each(self.draw, part, features=True)[0] for part in inputs.split(256)])

    def logits(self, inputs: Tensor) -> Tensor:
        """The net's answers (n, k) to ``inputs`` (n, ...); differentiable."""
        return torch.cat([each(self.draw, part)[0] for part in inputs.split(256)])

    def right(self, draw: dd.Draw) -> float:
        """The share of the clean items that ``draw``'s net gets right."""
        with torch.no_grad():
            logits = replace(self, draw=draw).logits(self.clean)
        return float((logits.argmax(1) == self.labels).float().mean())


@dataclass(frozen=True)
class Verdict:
    """What one defence says of a suspect; None where it says nothing of the kind."""

    accused: tuple[int, ...] | None = None
    """The classes that it takes for the target of a trigger; empty where it finds the suspect clean."""
    items: Tensor | None = None
    """Which items (n,) of the set it takes for poisoned."""
    refuses: Callable[[Tensor], Tensor] | None = None
    """Which inputs (n,) of preprocessed ones (n, ...) it would refuse to answer."""
    repaired: dd.Draw | None = None
    """The net once it was repaired."""


class Defence(dd.Part, kind="defence"):
    """A check of a set or of a network that learned from it, or a repair of that network.

    It never sees the trigger.
    """

    suits = frozenset({"image"})
    classes_only = True

    def ready(self) -> None:
        """Raises RecipeRefused where it needs what is not installed."""

    @abstractmethod
    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict: ...


def anomalies(values: Tensor) -> Tensor:
    """How far each of ``values`` (n,) lies above the median, in deviations of a Gaussian: (x - m) / (1.4826 MAD)."""
    apart = values - values.median()
    return apart / (1.4826 * apart.abs().median()).clamp_min(1e-12)
