"""Masking: steps on S that must do without some of its items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Masking(dd.Augment):
    """Some items are replaced by noise, drawn anew for each step of training on S.

    So no step depends on those before it: at a server that interleaves the steps of many clients, others lie between
    them.

    A change that all items share, of T or of S, hides none.

    **Reference**: Zhou et al., Distilled One-Shot Federated Learning, 2020, random masking.

    **Differs**: the noise is of N(0, 1), and each step draws its own.
    """

    share: dd.Decay = 0.1
    """Probability that an item is replaced."""

    @property
    def itemwise(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"student"})

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> dd.Transform:
        if n is None:
            return _unchanged
        gone = torch.rand(n, generator=generator) < self.share
        return Replaced(gone, torch.randn(n, *shape, generator=generator))


def _unchanged(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Replaced:
    """``noise`` (n, ...) stands for the items that are ``gone`` (n,)."""

    gone: Tensor
    noise: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        if len(self.gone) != len(x):
            raise ValueError(f"This change was drawn for {len(self.gone)} items and cannot be applied to {len(x)}.")
        gone = self.gone.to(x.device).view(-1, *[1] * (x.ndim - 1))
        return torch.where(gone, self.noise.to(x), x)
