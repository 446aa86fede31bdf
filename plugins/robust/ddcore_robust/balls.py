"""Balls: how far an attack may move an item."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Ball(dd.Part, kind="ball"):
    """The items within ``epsilon`` of a raw item, all of whose values lie in [0, 1].

    Values of an item that already lie outside [0, 1], as those of a synthetic one may, need not come back.
    """

    norm: ClassVar[Literal["Linf", "L2"]]
    """What the radius is measured by, as papers write it."""

    epsilon: dd.PositiveShare = 0.1
    """The radius, in units of raw values: white less black is 1."""

    def __str__(self) -> str:
        return f"{self.norm} {self.epsilon:g}"

    def project(self, moved: Tensor, x: Tensor) -> Tensor:
        """The items ``moved`` (n, ...), brought into the ball of each item of ``x`` (n, ...)."""
        inside = self._inside(moved, x)
        return torch.minimum(torch.maximum(inside, x.clamp(max=0)), x.clamp(min=1))

    @abstractmethod
    def _inside(self, moved: Tensor, x: Tensor) -> Tensor:
        """``moved`` within the radius, its range left alone."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction (n, ...) of length 1 in which a function of this ``gradient`` (n, ...) grows fastest."""

    @abstractmethod
    def drawn(self, x: Tensor, generator: Generator) -> Tensor:
        """An item (n, ...) of the ball of each of ``x``, drawn uniformly before the range is held."""


@dataclass(frozen=True)
class Linf(Ball):
    """No value is moved by more than ``epsilon``."""

    norm = "Linf"

    def _inside(self, moved: Tensor, x: Tensor) -> Tensor:
        return x + (moved - x).clamp(-self.epsilon, self.epsilon)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def drawn(self, x: Tensor, generator: Generator) -> Tensor:
        moves = torch.rand(x.shape, generator=generator).to(x) * 2 - 1
        return self.project(x + self.epsilon * moves, x)


@dataclass(frozen=True)
class L2(Ball):
    """The Euclidean distance over the whole item is at most ``epsilon``."""

    norm = "L2"

    epsilon: dd.Positive = 1.0
    """The radius, in units of raw values: white less black is 1."""

    def _inside(self, moved: Tensor, x: Tensor) -> Tensor:
        move = moved - x
        return x + move * (self.epsilon / _lengths(move).clamp_min(self.epsilon))

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient / _lengths(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)

    def drawn(self, x: Tensor, generator: Generator) -> Tensor:
        direction = self.steepest(torch.randn(x.shape, generator=generator).to(x))
        radius = torch.rand(len(x), generator=generator).to(x) ** (1 / x[0].numel())
        return self.project(x + self.epsilon * radius.view(-1, *[1] * (x.ndim - 1)) * direction, x)


def _lengths(move: Tensor) -> Tensor:
    """The Euclidean length of each item, (n, 1, ...)."""
    return move.flatten(1).norm(dim=1).view(-1, *[1] * (move.ndim - 1))
