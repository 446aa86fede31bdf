"""Probes: networks that ask another network a question which the gate's disclosures can answer.

A probe wraps the network of a draw at its parameters; it has no start of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ddcore.errors import RecipeRefused
from ddcore.networks.layers import At, Chain, Conv, Layer, Linear, Residual
from ddcore.networks.structure import Structure
from ddcore.types import Call, Draw, Network, Params, WrappedNetwork


@dataclass(frozen=True)
class Probe(WrappedNetwork):
    """A network that asks another one a question."""

    def init(self, generator: Generator) -> tuple[Params, Params]:
        raise NotImplementedError(f"{type(self).__name__} has no start: it is made at given parameters.")

    @abstractmethod
    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        """The answer to ``x`` (n, ...), with the probe's own parameters and buffers in ``draw``."""

    def apply(self, call: Call, x: Tensor) -> Tensor:
        assert call.ensemble is None, "a probe is asked about one net at a time"
        return self.ask(Draw(self.network, call.params, call.buffers), x, call.features, call.training)


def blocks(network: Network) -> Structure:
    """``network`` as a structure whose blocks can be told apart.

    Raises:
        RecipeRefused: it is an ordinary module.
    """
    if isinstance(network.unwrapped, Structure):
        return network.unwrapped
    raise RecipeRefused(
        f"The outputs of all blocks are wanted, and a {type(network).__name__} shows only its last features: take a"
        " network of the core (network.name=convnet), or match the last features alone (objective.name=feature_match,"
        " objective.logits=0)."
    )


def _steps(chain: Chain, path: str) -> Iterator[tuple[Layer, str]]:
    for i, layer in enumerate(chain.layers):
        if isinstance(layer, Chain):
            yield from _steps(layer, f"{path}.{i}")
        else:
            yield layer, f"{path}.{i}"


def block_outputs(draw: Draw, x: Tensor, training: bool = True) -> list[Tensor]:
    """The outputs (n, d) of all blocks, first to last, and the logits (n, k) of a structure.

    A block ends where the next convolution, linear or residual layer begins. Of :class:`Joined`, those of its nets
    over sqrt(e), side by side.
    """
    if isinstance(draw.network, Joined):
        each = [block_outputs(net, x, training) for net in draw.network.apart(draw)]
        return [torch.cat(outputs, 1) / len(each) ** 0.5 for outputs in zip(*each, strict=True)]
    structure = blocks(draw.network)
    at = At(draw.params, draw.buffers, training, 1)
    outputs: list[Tensor] = []
    begun = False
    for layer, path in _steps(structure.features, "features"):
        weighs = isinstance(layer, Conv | Linear | Residual)
        if weighs and begun:
            outputs.append(x.flatten(1))
        begun = begun or weighs
        x = layer(at, path, x)
    return [*outputs, x, structure.head(at, "head", x)]


def last_layer(draw: Draw, features: Tensor) -> Tensor:
    """The logits (n, k) of a structure that has these ``features`` (n, d)."""
    if isinstance(draw.network, Joined):
        nets = draw.network.apart(draw)
        own = (len(nets) ** 0.5 * features).chunk(len(nets), 1)
        return torch.stack([last_layer(net, mine) for net, mine in zip(nets, own, strict=True)]).mean(0)
    return blocks(draw.network).head(At(draw.params, draw.buffers, True, 1), "head", features)


@dataclass(frozen=True)
class Moments:
    """What one BatchNorm layer sees in a batch, and what it has seen in training; each (c,)."""

    mean: Tensor
    var: Tensor
    running_mean: Tensor
    running_var: Tensor


def with_batch_norm(network: Network) -> Structure:
    """``network`` as a structure that has BatchNorm layers.

    Raises:
        RecipeRefused: it has none that can be seen.
    """
    if isinstance(network.unwrapped, Structure) and "batch_norm" in network.gives:
        return network.unwrapped
    raise RecipeRefused(
        "S is matched with the running statistics of a teacher's BatchNorm layers, and this network shows none: take a"
        " network of the core that has them (network.norm=batch). No private gate admits such a network."
    )


def batch_moments(draw: Draw, x: Tensor) -> tuple[Tensor, list[Moments]]:
    """Logits (n, k) of ``x`` under the running statistics, and the moments of each BatchNorm layer, first to last.

    A layer's mean and (biased) variance are those of its input over items and places, differentiable in ``x``.
    """
    structure = with_batch_norm(draw.network)
    found: list[Moments] = []

    def watch(seen: Tensor, running_mean: Tensor, running_var: Tensor) -> None:
        var, mean = torch.var_mean(seen.transpose(0, 1).flatten(1), 1, correction=0)
        found.append(Moments(mean, var, running_mean, running_var))

    at = At(draw.params, draw.buffers, training=False, nets=1, watch=watch)
    return structure.head(at, "head", structure.features(at, "features", x)), found


@dataclass(frozen=True)
class Layers(Probe):
    """Features that are the outputs of all blocks and the logits side by side, output i times sqrt(weights[i]).

    So || a - b ||^2 of two answers is sum_i w_i || a_i - b_i ||^2. Outputs beyond the weights have the last weight.
    """

    weights: tuple[float, ...]

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        if not features:
            return draw(x, training=training)
        outputs = block_outputs(draw, x, training)
        weights = [self.weights[min(i, len(self.weights) - 1)] for i in range(len(outputs))]
        return torch.cat([weight**0.5 * output for weight, output in zip(weights, outputs, strict=True)], 1)


@dataclass(frozen=True)
class Convolved(Probe):
    """Features that are means of the inputs of all convolutions (n, d), and beside them those of their squares (n, d).

    Of each input (n, c, ...), first to last, those at its channels (n, c) and those in the cells of a grid of four to a
    side, over all channels. Running statistics normalise, so items do not see each other. Means of these tell variances
    too: :func:`moments`.
    """

    @property
    def per_sample(self) -> bool:
        return True

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        if not features:
            return draw(x, training=training)
        seen: list[Tensor] = []
        at = At(draw.params, draw.buffers, training=False, nets=1, convolved=seen.append)
        blocks(draw.network).features(at, "features", x)
        both = ([_means(value) for value in seen], [_means(value.square()) for value in seen])
        return torch.cat([means for kind in both for means in kind], 1)


CELLS = 4


def _means(x: Tensor) -> Tensor:
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[x.ndim - 3]
    return torch.cat([x.flatten(2).mean(2), pool(x.mean(1, keepdim=True), CELLS).flatten(1)], 1)


@dataclass(frozen=True)
class CentreClassifier(Probe):
    """Logits f(x) M': inner products of the features (n, d) with centres M (k, d), its only parameters.

    The network's own parameters stand among the buffers, so a gradient is one with respect to M.
    """

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        inner = {
            kind: {name.removeprefix(kind): value for name, value in draw.buffers.items() if name.startswith(kind)}
            for kind in ("params.", "buffers.")
        }
        found = self.network(inner["params."], inner["buffers."], x, features=True, training=training)
        return found if features else found @ draw.params["centres"].T


@dataclass(frozen=True)
class Embedded(Probe):
    """Features cos f(x) U and sin f(x) U (n, 2 m) over sqrt(m), of length one; U (d, m) stands among the buffers.

    So inner products of features are means over the frequencies, the columns u of U, of cos u . (f(x) - f(y)).
    """

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        inner = {name: value for name, value in draw.buffers.items() if name != "frequencies"}
        found = self.network(draw.params, inner, x, features=features, training=training)
        if not features:
            return found
        turned = found @ draw.buffers["frequencies"]
        return torch.cat([turned.cos(), turned.sin()], 1) / turned.shape[1] ** 0.5


@dataclass(frozen=True)
class Crossed(Probe):
    """Features f(x) (n, d) and beside them products f(x) P * f(x) Q (n, m) over sqrt(m).

    P and Q, (2, d, m), stand among the buffers. Means of these tell covariances: :func:`covariances`.
    """

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        inner = {name: value for name, value in draw.buffers.items() if name != "directions"}
        found = self.network(draw.params, inner, x, features=features, training=training)
        return torch.cat([found, _products(found, draw.buffers["directions"])], 1) if features else found


def _products(features: Tensor, directions: Tensor) -> Tensor:
    first, second = features @ directions
    return first * second / directions.shape[2] ** 0.5


@dataclass(frozen=True)
class Joined(Probe):
    """``nets`` networks as one: features f_1(x) ... f_e(x) / sqrt(e) side by side, logits the mean of theirs.

    So inner products of features are means of the nets' own. Parameters and buffers have a leading axis e.
    """

    nets: int

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        each = replace(draw, ensemble=self.nets)(x.expand(self.nets, *x.shape), features=features, training=training)
        return each.transpose(0, 1).flatten(1) / self.nets**0.5 if features else each.mean(0)

    def apart(self, draw: Draw) -> list[Draw]:
        """Each net of a ``draw`` of this by itself."""
        held = (
            [{name: v[i] for name, v in of.items()} for of in (draw.params, draw.buffers)] for i in range(self.nets)
        )
        return [Draw(self.network, params, buffers, age=draw.age) for params, buffers in held]


@dataclass(frozen=True)
class PredictedShares(Probe):
    """Features that are 1 at the predicted class and 0 elsewhere (n, k): their mean is the shares of predictions."""

    def ask(self, draw: Draw, x: Tensor, features: bool, training: bool) -> Tensor:
        logits = draw(x, training=training)
        if not features:
            return logits
        return (logits.argmax(1, keepdim=True) == torch.arange(logits.shape[1], device=logits.device)).to(logits)


# One probe a network, always the same: a gate remembers by a network's identity how many items fit its memory.
_layers, _convolved, _centres, _embedded, _crossed, _joined, _predicted_shares = (
    cache(Layers),
    cache(Convolved),
    cache(CentreClassifier),
    cache(Embedded),
    cache(Crossed),
    cache(Joined),
    cache(PredictedShares),
)


def layers(draw: Draw, weights: tuple[float, ...]) -> Draw:
    """``draw`` as :class:`Layers` sees it. Raises RecipeRefused where its blocks cannot be told apart."""
    blocks(draw.network)
    return Draw(_layers(draw.network, weights), draw.params, draw.buffers, age=draw.age)


def convolved(draw: Draw) -> Draw:
    """``draw`` as :class:`Convolved` sees it. Raises RecipeRefused where its layers cannot be told apart."""
    blocks(draw.network)
    return Draw(_convolved(draw.network), draw.params, draw.buffers, age=draw.age)


def moments(draw: Draw, means: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Means and variances of the inputs of each convolution at its channels, (k, c) each, and then in its cells, from
    the ``means`` (k, 2 d) of a draw of :class:`Convolved`."""
    layers = [layer for layer in blocks(draw.network).features.inner() if isinstance(layer, Conv)]
    sizes = [size for layer in layers for size in (layer.into, CELLS**layer.dims)]
    for mean, square in zip(*(half.split(sizes, 1) for half in means.chunk(2, 1)), strict=True):
        yield mean, square - mean.square()


def by_centres(draw: Draw, centres: Tensor) -> Draw:
    """``draw`` as a classifier by inner products with ``centres`` (k, d)."""
    inner = {f"params.{name}": value for name, value in draw.params.items()}
    inner |= {f"buffers.{name}": value for name, value in draw.buffers.items()}
    return Draw(_centres(draw.network), {"centres": centres}, inner, age=draw.age)


def embedded(draw: Draw, frequencies: Tensor) -> Draw:
    """``draw`` with its features embedded by ``frequencies`` (d, m)."""
    return Draw(_embedded(draw.network), draw.params, {**draw.buffers, "frequencies": frequencies}, age=draw.age)


def crossed(draw: Draw, directions: Tensor) -> Draw:
    """``draw`` with the products of its features along ``directions`` (2, d, m) beside them."""
    return Draw(_crossed(draw.network), draw.params, {**draw.buffers, "directions": directions}, age=draw.age)


def covariances(draw: Draw, means: Tensor) -> tuple[Tensor, Tensor]:
    """The means (k, d) of the features, and p' C q over sqrt(m) of their covariances C for each pair of directions
    (k, m), from the ``means`` of a draw of :class:`Crossed`."""
    directions = draw.buffers["directions"]
    first, second = means.split([directions.shape[1], directions.shape[2]], 1)
    return first, second - _products(first, directions)


def joined(draws: Sequence[Draw]) -> Draw:
    """``draws`` of one network as the one draw of :class:`Joined`."""
    params = {name: torch.stack([draw.params[name] for draw in draws]) for name in draws[0].params}
    buffers = {name: torch.stack([draw.buffers[name] for draw in draws]) for name in draws[0].buffers}
    return Draw(_joined(draws[0].network, len(draws)), params, buffers, age=draws[0].age)


def predicted_shares(draw: Draw) -> Draw:
    """``draw`` as one who says a class and no more."""
    return Draw(_predicted_shares(draw.network), draw.params, draw.buffers, age=draw.age)


def class_means(features: Tensor, classes: Tensor, k: int) -> Tensor:
    """The mean feature (k, d) of each class; ``features`` (n, d), ``classes`` (n,)."""
    member = (classes == torch.arange(k, device=classes.device)[:, None]).to(features)
    return member @ features / member.sum(1, keepdim=True)
