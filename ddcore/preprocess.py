"""Preprocessing: what real inputs go through before a network sees them, and the way back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ddcore.bounds import FilePath, Number, Positive
from ddcore.errors import RecipeRefused
from ddcore.parts import Part
from ddcore.tensors import read_tensors
from ddcore.types import DataCard, Network

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

    def state_faults(self, state: Mapping[str, Tensor], card: DataCard) -> Iterator[str]:
        """What keeps ``state``, of finite numbers, from being that of items of ``card``, in sentences; nothing by
        default."""
        return iter(())


def _misshapen(state: Mapping[str, Tensor], **shapes: tuple[int, ...]) -> Iterator[str]:
    """Whether ``state`` is other than float tensors of these ``shapes``."""
    found = {name: tuple(value.shape) for name, value in state.items()}
    if found != shapes or not all(value.is_floating_point() for value in state.values()):
        yield f"it holds {found or 'nothing'}, not floats {shapes or '(none)'}"


def _beyond(state: Mapping[str, Tensor], card: DataCard) -> Iterator[str]:
    """Whether a mean or std among ``state`` is of another range than the items of ``card``."""
    for name in ("mean", "std"):
        if name in state and (fault := card.beyond(state[name].flatten().tolist())):
            yield f"its {name} reaches {float(state[name].abs().max()):g}, and {fault}"


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

    def state_faults(self, state: Mapping[str, Tensor], card: DataCard) -> Iterator[str]:
        yield from _misshapen(state)


class ByChannel(Fitted):
    """(x - mean) / std, a channel at a time; of vectors, a feature at a time."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.mean, self.std = self.mean.to(x.device), self.std.to(x.device)
        shape = (-1, *[1] * (x.ndim - 2))
        return self.mean.to(x.dtype).view(shape), self.std.to(x.dtype).view(shape)

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

    Where neither is given, what the data's card declares is used; where it declares nothing, both are fitted through
    the gate.
    """

    suits = frozenset({"image", "signal", "vector", "video"})

    mean: tuple[Number, ...] | None = None
    """Channel means of inputs in [0, 1], known publicly: they ask nothing of T. Given with ``std`` or not at all."""
    std: tuple[Positive, ...] | None = None
    """Channel standard deviations, likewise."""

    def faults(self) -> Iterator[str]:
        if (self.mean is None) != (self.std is None):
            yield "mean and std belong together: give both or neither"
        elif self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            yield f"mean = {self.mean} and std = {self.std} must have the same length"

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"statistics"} if self.mean is None else ())

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and (fault := card.beyond(numbers)):
                raise RecipeRefused(f"preprocess.{name} is {numbers}: {fault}.")

    def fitted(self, card: DataCard) -> Standardise:
        return replace(self, mean=card.mean, std=card.std) if self.mean is None else self

    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        plan = self.fitted(card)
        if plan.mean is None or plan.std is None:
            found = statistics()
            return ByChannel(found["mean"], found["std"].where(found["std"] > 1e-6, 1.0))
        if len(plan.mean) != card.shape[0]:
            raise RecipeRefused(
                f"preprocess.mean has {len(plan.mean)} values, {card.name} has {card.shape[0]} channels."
            )
        return ByChannel(torch.tensor(plan.mean), torch.tensor(plan.std))

    def load(self, state: dict[str, Tensor]) -> Fitted:
        return ByChannel(state["mean"], state["std"])

    def state_faults(self, state: Mapping[str, Tensor], card: DataCard) -> Iterator[str]:
        yield from _misshapen(state, mean=card.shape[:1], std=card.shape[:1])
        if not bool((state["std"] > 0).all()):
            yield "its std is not above zero"
        yield from _beyond(state, card)


LARGEST = 12_288
"""Values of an item (3x64x64) up to which a whitening matrix is made."""


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

    Pixels of any shape and number of channels. The matrix and its inverse are in the artefact; they are not counted in
    the bytes of S.

    **Reference**: Bell and Sejnowski, Vision Research 1997.
    """

    suits = frozenset({"image", "signal", "vector", "video"})

    eps: Positive = 0.1
    """Added to the eigenvalues. Published: 0.1 (Nguyen et al., NeurIPS 2021)."""
    public: FilePath | None = None
    """A safetensors file with ``mean`` (d,) and ``covariance`` (d, d) of public items, which asks nothing of T; None to
    fit both through the gate."""

    pointwise: ClassVar[bool] = False

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"statistics"} if self.public is None else ())

    def start(self, card: DataCard, statistics: Statistics) -> Fitted:
        d = math.prod(card.shape)
        if d > LARGEST:
            raise RecipeRefused(
                f"ZCA of items of {d} values needs a matrix of {8 * d * d / 2**30:.0f} GiB (at most {LARGEST}"
                " numbers): take preprocess.name = standardise, or smaller images."
            )
        found = statistics(pixels=True) if self.public is None else self._declared(self.public)
        mean, covariance = found["mean"].double(), found["covariance"].double()
        if mean.shape != (d,) or covariance.shape != (d, d):
            raise RecipeRefused(
                f"preprocess.public: mean {tuple(mean.shape)} and covariance {tuple(covariance.shape)} are not those of"
                f" {card.name}'s items of {d} values."
            )
        values, vectors = torch.linalg.eigh(covariance)
        scale = (values.clamp_min(0) + self.eps).sqrt()
        return Whitened(mean.float(), ((vectors / scale) @ vectors.T).float(), ((vectors * scale) @ vectors.T).float())

    @staticmethod
    def _declared(path: str) -> dict[str, Tensor]:
        remedy = "preprocess.public names a safetensors file with mean and covariance."
        return read_tensors(path, RecipeRefused, remedy, ("mean", "covariance"))[0]

    def load(self, state: dict[str, Tensor]) -> Fitted:
        return Whitened(state["mean"], state["matrix"], state["inverse"])

    def state_faults(self, state: Mapping[str, Tensor], card: DataCard) -> Iterator[str]:
        d = math.prod(card.shape)
        yield from _misshapen(state, mean=(d,), matrix=(d, d), inverse=(d, d))
        yield from _beyond(state, card)


PARTS = (
    Standardise,
    ZCA,
    Identity,
)
