"""Preprocessing: what real inputs go through before a network sees them, and the way back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.types import DataCard

Statistics = Callable[..., dict[str, Tensor]]
"""``Gate.statistics``: by channel, or with ``pixels=True`` over whole items."""


class Fitted(ABC):
    """A preprocessing with its numbers."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Raw inputs (n, ...) as networks take them."""

    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor:
        """Back to raw inputs."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]: ...


class Preprocess(Part, kind="preprocess"):
    """Which preprocessing."""

    pointwise: ClassVar[bool] = True
    """Each pixel is changed by itself."""

    @abstractmethod
    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        """Fit it, asking ``statistics`` (the gate's) only where nothing was declared."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> Fitted:
        """The fitted preprocessing that gave ``state``."""


class Unchanged(Fitted):
    def __call__(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> Tensor:
        return x

    def state_dict(self) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Identity(Preprocess):
    """Inputs as they are."""

    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        return Unchanged()

    def load(self, state: dict[str, Tensor]) -> Fitted:
        return Unchanged()


class ByChannel(Fitted):
    """(x - mean) / std, a channel at a time; of vectors, a feature at a time."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (x.ndim - 2))
        return self.mean.to(x).view(shape), self.std.to(x).view(shape)

    def __call__(self, x: Tensor) -> Tensor:
        mean, std = self._shaped(x)
        return (x - mean) / std

    def inverse(self, x: Tensor) -> Tensor:
        mean, std = self._shaped(x)
        return x * std + mean

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "std": self.std}


@dataclass(frozen=True)
class Standardise(Preprocess):
    """(x - mean) / std by channel, or by feature of vectors. What never changes is only shifted.

    Given numbers are public and ask nothing of T; where there are none, those that the data's card declares are
    used, and where it declares none they are fitted through the gate.
    """

    suits = frozenset({"image", "signal", "vector"})

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def faults(self) -> Iterator[str]:
        if (self.mean is None) != (self.std is None):
            yield ("preprocess: mean and std belong together, give both or neither.")
        if self.mean is None or self.std is None:
            return
        sound = all(map(math.isfinite, (*self.mean, *self.std))) and all(s > 0 for s in self.std)
        if not sound or len(self.std) != len(self.mean):
            yield (f"preprocess: mean {self.mean} and std {self.std} must be as long, finite, and std above zero.")

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"statistics"} if self.mean is None else ())

    def fitted(self, card: DataCard) -> Standardise:
        return replace(self, mean=card.mean, std=card.std) if self.mean is None else self

    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        plan = self.fitted(card)
        if plan.mean is None or plan.std is None:
            found = statistics()
            return ByChannel(found["mean"], found["std"].where(found["std"] > 1e-6, 1.0))
        if len(plan.mean) != card.shape[0]:
            raise RecipeRefused(
                f"preprocess.mean has {len(plan.mean)} numbers, {card.name} has {card.shape[0]} channels."
            )
        return ByChannel(torch.tensor(plan.mean), torch.tensor(plan.std))

    def load(self, state: dict[str, Tensor]) -> Fitted:
        return ByChannel(state["mean"], state["std"])


LARGEST = 12_288
"""Numbers of an item (3x64x64) up to which a whitening matrix is made."""


class Whitened(Fitted):
    """(x - mean) W over the flattened item, W symmetric."""

    def __init__(self, mean: Tensor, matrix: Tensor, inverse: Tensor) -> None:
        self.mean, self.matrix, self.back = mean, matrix, inverse

    def __call__(self, x: Tensor) -> Tensor:
        return ((x.flatten(1) - self.mean.to(x)) @ self.matrix.to(x)).view_as(x)

    def inverse(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.back.to(x) + self.mean.to(x)).view_as(x)

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "matrix": self.matrix, "inverse": self.back}


@dataclass(frozen=True)
class ZCA(Preprocess):
    """Zero-phase whitening: (x - m) W, W = U (L + eps)^-1/2 U', with m and U L U' the mean and covariance of items.

    Pixels of any shape and number of channels. ``public`` names a safetensors file with ``mean`` (d,) and
    ``covariance`` (d, d) of public items, which asks nothing of T; else both are fitted through the gate. The
    matrix and its inverse stand in the artefact; they are not counted in the bytes of S.

    Reference: Bell and Sejnowski, Vision Research 1997; eps = 0.1 as in Nguyen et al., NeurIPS 2021.
    """

    suits = frozenset({"image", "signal", "vector"})

    pointwise: ClassVar[bool] = False

    eps: float = 0.1
    public: str | None = None

    def faults(self) -> Iterator[str]:
        if not 0 < self.eps < math.inf:
            yield (f"preprocess: eps = {self.eps} must be above zero and finite.")

    @classmethod
    def part_name(cls) -> str:
        return "zca"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"statistics"} if self.public is None else ())

    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        d = math.prod(card.shape)
        if d > LARGEST:
            raise RecipeRefused(
                f"ZCA of items of {d} numbers needs a matrix of {8 * d * d / 2**30:.0f} GiB (at most {LARGEST}"
                " numbers): take preprocess.name = standardise, or smaller images."
            )
        found = statistics(pixels=True) if self.public is None else self._declared(self.public)
        mean, covariance = found["mean"].double(), found["covariance"].double()
        if mean.shape != (d,) or covariance.shape != (d, d):
            raise RecipeRefused(
                f"preprocess.public: mean {tuple(mean.shape)} and covariance {tuple(covariance.shape)} are not those of"
                f" {card.name}'s items of {d} numbers."
            )
        values, vectors = torch.linalg.eigh(covariance)
        scale = (values.clamp_min(0) + self.eps).sqrt()
        return Whitened(mean.float(), ((vectors / scale) @ vectors.T).float(), ((vectors * scale) @ vectors.T).float())

    @staticmethod
    def _declared(path: str) -> dict[str, Tensor]:
        try:
            tensors = load_file(path)
            return {"mean": tensors["mean"], "covariance": tensors["covariance"]}
        except (OSError, SafetensorError, KeyError) as error:
            raise RecipeRefused(
                f"preprocess.public = {path!r} is not a safetensors file with mean and covariance ({error})."
            ) from error

    def load(self, state: dict[str, Tensor]) -> Fitted:
        return Whitened(state["mean"], state["matrix"], state["inverse"])


PARTS = (
    Standardise,
    ZCA,
    Identity,
)
