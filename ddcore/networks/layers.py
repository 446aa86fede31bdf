"""Layers: frozen values that know how to start their parameters and how to apply them.

The parameters of a layer are in a flat dict under its path in the network (``features.0.weight``), so a network
can be evaluated at any point of its parameter space, differentiated there as often as one likes, and stacked: with an
ensemble of e nets every parameter has a leading axis e and images travel as (n, e * c, h, w), so that e convolutions
are one grouped convolution.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore.errors import RecipeRefused
from ddcore.networks.fused import Block, can_fuse, can_halve, halved, pooled
from ddcore.types import Params

NormName = Literal["none", "batch", "layer", "instance", "group"]
ActivationName = Literal["relu", "leaky_relu", "sigmoid", "swish"]
PoolingName = Literal["none", "max", "avg"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "sigmoid": torch.sigmoid,
    "swish": F.silu,
}


class Layer(ABC):
    """A piece of a network, without tensors of its own."""

    per_sample = True
    gives: frozenset[str] = frozenset()
    """What parts may need of a network, and find in this layer."""

    def inner(self) -> Iterator[Layer]:
        """This layer, and those that it is made of."""
        yield self

    @property
    def outline(self) -> Layer:
        """A layer with the same parameters and the same shapes: layers of equal outlines may stand in one ensemble."""
        return self

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        """Enter fresh parameters and buffers under ``path``."""

    @abstractmethod
    def __call__(self, at: At, path: str, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class At:
    """Where in parameter space, and in which mode, a network is applied."""

    params: Params
    buffers: Params
    training: bool
    nets: int
    """Nets of the ensemble, 1 for a single one."""
    watch: Callable[[Tensor, Tensor, Tensor], None] | None = None
    """Called by each BatchNorm layer with its input (n, c, ...), running mean (c,) and running variance."""
    convolved: Callable[[Tensor], None] | None = None
    """Called by each convolution with its input (n, c, ...)."""


def uniform(shape: tuple[int, ...], fan_in: int, generator: Generator) -> Tensor:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's initialisation of linear and convolution layers."""
    return (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(fan_in)


@dataclass(frozen=True)
class Conv(Layer):
    gives = frozenset({"convolutions"})

    into: int
    out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = True
    dims: int = 2
    """2 on images (n, c, h, w), 1 on signals (n, c, t), 3 on videos (n, c, t, h, w)."""

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        fan_in = self.into * self.kernel**self.dims
        params[f"{path}.weight"] = uniform((self.out, self.into, *[self.kernel] * self.dims), fan_in, generator)
        if self.bias:
            params[f"{path}.bias"] = uniform((self.out,), fan_in, generator)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        weight, bias = at.params[f"{path}.weight"], at.params.get(f"{path}.bias")
        if at.convolved:
            at.convolved(x)
        weight = weight.reshape(-1, *weight.shape[-1 - self.dims :])
        slide = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        return slide(x, weight, None if bias is None else bias.flatten(), self.stride, self.padding, 1, at.nets)


@dataclass(frozen=True)
class Linear(Layer):
    """On x (n, e * d), or (n, d) for a single net."""

    into: int
    out: int

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        params[f"{path}.weight"] = uniform((self.out, self.into), self.into, generator)
        params[f"{path}.bias"] = uniform((self.out,), self.into, generator)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        weight, bias = at.params[f"{path}.weight"], at.params[f"{path}.bias"]
        if weight.ndim == 2:
            return F.linear(x, weight, bias)
        each = x.unflatten(1, (at.nets, -1)).transpose(0, 1)
        return torch.baddbmm(bias[:, None], each, weight.transpose(1, 2)).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Normalises each item's channels in ``groups``; as many groups as channels is instance norm."""

    groups: int
    channels: int

    @property
    def outline(self) -> Layer:
        return GroupNorm(1, self.channels)

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        params[f"{path}.weight"], params[f"{path}.bias"] = torch.ones(self.channels), torch.zeros(self.channels)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        weight, bias = at.params[f"{path}.weight"].flatten(), at.params[f"{path}.bias"].flatten()
        return F.group_norm(x, at.nets * self.groups, weight, bias)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalises each channel over the batch; running statistics are in the buffers."""

    channels: int
    per_sample = False
    gives = frozenset({"batch_norm"})

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        params[f"{path}.weight"], params[f"{path}.bias"] = torch.ones(self.channels), torch.zeros(self.channels)
        buffers[f"{path}.mean"], buffers[f"{path}.var"] = torch.zeros(self.channels), torch.ones(self.channels)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        weight, bias = at.params[f"{path}.weight"].flatten(), at.params[f"{path}.bias"].flatten()
        mean, var = at.buffers[f"{path}.mean"].view(-1), at.buffers[f"{path}.var"].view(-1)
        if at.watch:
            at.watch(x, mean, var)
        return F.batch_norm(x, mean, var, weight, bias, training=at.training)


def norm(name: NormName, channels: int) -> Layer | None:
    """The named normalisation of ``channels``; ``group`` has 4 groups. Raises RecipeRefused where they do not fit."""
    groups = {"layer": 1, "instance": channels, "group": 4}
    if name == "group" and channels % groups[name]:
        raise RecipeRefused(
            f"{channels} channels cannot be divided into the 4 groups of norm 'group': take a multiple of 4."
        )
    if name == "batch":
        return BatchNorm(channels)
    return GroupNorm(groups[name], channels) if name in groups else None


@dataclass(frozen=True)
class Activation(Layer):
    name: ActivationName = "relu"

    @property
    def outline(self) -> Layer:
        return Activation()

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


@dataclass(frozen=True)
class Pooling(Layer):
    name: PoolingName
    kernel: int = 2
    stride: int = 2
    padding: int = 0

    @property
    def outline(self) -> Layer:
        return self if self.name == "none" else replace(self, name="max")

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        if self.name == "none":
            return x
        if self == HALVED and can_halve(x):
            return halved(x)
        pools = {
            "max": (F.max_pool1d, F.max_pool2d, F.max_pool3d),
            "avg": (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
        }
        return pools[self.name][x.ndim - 3](x, self.kernel, self.stride, self.padding)


HALVED = Pooling("avg")


@dataclass(frozen=True)
class GlobalPool(Layer):
    """The mean over the image, for any size of it."""

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


@dataclass(frozen=True)
class Flatten(Layer):
    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return x.flatten(1)


@dataclass(frozen=True)
class Chain(Layer):
    """One layer after another."""

    layers: tuple[Layer, ...]

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return all(layer.per_sample for layer in self.layers)

    @property
    def outline(self) -> Chain:
        return Chain(tuple(layer.outline for layer in self.layers))

    def inner(self) -> Iterator[Layer]:
        for layer in self.layers:
            yield from layer.inner()

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        for i, layer in enumerate(self.layers):
            layer.init(f"{path}.{i}", generator, params, buffers)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        if blocks := self._fused(at, path, x):
            return pooled(blocks, x)
        for i, layer in enumerate(self.layers):
            x = layer(at, f"{path}.{i}", x)
        return x

    def _fused(self, at: At, path: str, x: Tensor) -> list[Block]:
        """Its layers in blocks that can be computed together where no derivative is wanted, if they are such."""
        inside = self.layers[:-1]
        if at.convolved or at.nets != 1 or self.layers[-1:] != (Flatten(),):
            return []
        if not (can_fuse(x) and inside and len(inside) % 4 == 0):
            return []
        blocks, side = [], x.shape[2:]
        for i in range(0, len(inside), 4):
            conv, norm, activation, pooling = inside[i : i + 4]
            if not (isinstance(conv, Conv) and isinstance(norm, GroupNorm) and isinstance(activation, Activation)):
                return []
            side = torch.Size(n + 2 * conv.padding - 2 for n in side)
            if not (conv.kernel == 3 and conv.stride == 1 and norm.groups == norm.channels and pooling == HALVED):
                return []
            if any(n % 2 for n in side):
                return []
            side = torch.Size(n // 2 for n in side)
            weight = at.params[f"{path}.{i}.weight"].reshape(conv.out, conv.into, 3, 3)
            scale, shift = (at.params[f"{path}.{i + 1}.{name}"].flatten() for name in ("weight", "bias"))
            blocks.append(Block(weight, scale, shift, ACTIVATIONS[activation.name], conv.padding))
        return blocks


def chain(*layers: Layer | None) -> Chain:
    """The layers that are there, in order."""
    return Chain(tuple(layer for layer in layers if layer is not None))


@dataclass(frozen=True)
class Residual(Layer):
    """relu( body(x) + shortcut(x) )."""

    body: Chain
    shortcut: Chain

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self.body.per_sample and self.shortcut.per_sample

    @property
    def outline(self) -> Layer:
        return Residual(self.body.outline, self.shortcut.outline)

    def inner(self) -> Iterator[Layer]:
        yield from self.body.inner()
        yield from self.shortcut.inner()

    def init(self, path: str, generator: Generator, params: Params, buffers: Params) -> None:
        self.body.init(f"{path}.body", generator, params, buffers)
        self.shortcut.init(f"{path}.shortcut", generator, params, buffers)

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return F.relu(self.body(at, f"{path}.body", x) + self.shortcut(at, f"{path}.shortcut", x))
