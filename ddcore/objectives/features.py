"""Distribution matching: mean features of S against those of T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ddcore.bounds import Count, NotNegative, PositiveShare, Share
from ddcore.context import Context
from ddcore.device import sent
from ddcore.kernels import Gaussian
from ddcore.networks.probe import covariances, crossed, embedded, last_layer
from ddcore.objectives.means import ClassMeans
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Network

_lengths: WeakKeyDictionary[Network, int] = WeakKeyDictionary()


def some_rows(synthetic: SyntheticSet, ctx: Context) -> Tensor:
    """Rows (n,) of S that fit one chunk, drawn from the stream ``kernel``."""
    rows = torch.randperm(len(synthetic), generator=ctx.rng["kernel"])[: max(2, ctx.room)]
    return sent(rows, ctx.device)


def feature_length(draw: Draw, synthetic: SyntheticSet, rows: Tensor) -> int:
    """The length d of the features of ``draw``; a network is asked once, by what it makes of ``rows`` (n,) of S."""
    if draw.network not in _lengths:
        with torch.no_grad():
            features = draw(synthetic.take(rows[:2])[0], features=True, training=False)
        _lengths[draw.network] = features.shape[1]
    return _lengths[draw.network]


def frequencies(kernel: Gaussian, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Tensor:
    """Frequencies (d, m) for the features of ``draw``, whose unit is taken from items of S."""
    with torch.no_grad():
        features = draw(synthetic.take(some_rows(synthetic, ctx))[0], features=True)
    spread = features.var(0).mean() if len(features) > 1 else features.square().mean()
    drawn = sent(kernel.drawn(features.shape[1], ctx.rng["kernel"]), ctx.device)
    return drawn / (2 * spread).sqrt().clamp_min(1e-6)


@dataclass(frozen=True)
class FeatureMatch(ClassMeans):
    """L = sum_c || mean_n f(T_c) - mean_n f(S_c) ||^2, summed over the d features.

    f is the input of the network's last layer. Each class has one augmentation, shared by T and S. With a ``kernel`` k
    the means are those of k's features, so that L is a maximum mean discrepancy, mean k(T_c, T_c') + mean k(S_c, S_c')
    - 2 mean k(T_c, S_c'): all moments of the features count, not the first alone.

    **References**: Zhao and Bilen, WACV 2023, Eq. 6; ``logits``, Xiong et al., FedDM, CVPR 2023; ``kernel``, Zhang et
    al., M3D, AAAI 2024.

    **Differs**: the features of k are drawn anew at each step instead of summing k over all pairs, which has the same
    mean. So single items of T are never asked for, and the features have length one, which nothing need clip.
    """

    logits: NotNegative = 0.0
    """Weight l of an added term l || mean_n z(T_c) - mean_n z(S_c) ||^2 on the outputs z of the last layer. That layer
    is linear, so mean outputs follow from mean features: nothing more is asked of T."""
    kernel: Gaussian | None = None
    """The kernel whose features are matched, of f in units in which the mean squared distance of two items of S is d;
    None for f itself."""

    def faults(self) -> Iterator[str]:
        if self.logits and self.kernel is not None:
            yield "logits follow from mean features, which a kernel replaces: set logits = 0, or leave kernel out"

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | ({"blocks"} if self.logits else set())

    def seen(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Draw:
        if self.kernel is None:
            return draw
        return embedded(draw, frequencies(self.kernel, draw, synthetic, ctx))

    def distance(self, draw: Draw, real: Tensor, made: Tensor, share: float) -> Tensor:
        loss = (real - made).square().sum()
        if self.logits:
            loss = loss + self.logits * (last_layer(draw, real) - last_layer(draw, made)).square().sum()
        return loss


@dataclass(frozen=True)
class CovarianceMatch(ClassMeans):
    """L = sum_c || mean f(T_c) - mean f(S_c) ||^2 + b / d || C(T_c) - C(S_c) ||_F^2, C the covariance of d features f.

    A gate tells means alone, so f is asked for along with products of its projections, (p . f)(q . f) / sqrt(m), for m
    pairs of random directions p and q. With the mean of f they give p' C q / sqrt(m), and the sum of the squares of m
    such differences has || C(T_c) - C(S_c) ||_F^2 as its mean.

    **Reference**: Li et al., DSDM, ACM MM 2024: prototypes and semantic diversity.

    **Differs**: the covariance is never formed, which would hold d^2 numbers per class, but met along directions that
    are drawn anew at each step. It is the mean over n items, not n - 1 of them: at few items of S it is the smaller.
    """

    weight: NotNegative = 1.0
    """Weight b of the covariances."""
    directions: Count = 1024
    """Pairs m of directions per step."""

    def seen(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Draw:
        d = feature_length(draw, synthetic, some_rows(synthetic, ctx))
        pairs = torch.randn(2, d, self.directions, generator=ctx.rng["kernel"])
        return crossed(draw, sent(pairs, ctx.device))

    def distance(self, draw: Draw, real: Tensor, made: Tensor, share: float) -> Tensor:
        (mean, covariance), (mean_made, covariance_made) = covariances(draw, real), covariances(draw, made)
        diversity = (covariance - covariance_made).square().sum() / mean.shape[1]
        return (mean - mean_made).square().sum() + self.weight * diversity


@dataclass(frozen=True)
class CharacteristicMatch(ClassMeans):
    """L = sum_c mean_u sqrt( a (|P_T| - |P_S|)^2 + (1 - a) 2 (|P_T| |P_S| - Re P_T P_S*) ) over frequencies u.

    P_T(u) = mean exp(i u . f(T_c)) is the characteristic function of the features f of a class of T, P_S that of S. The
    first term compares their amplitudes, the second their phases. With ``worst`` below 1 it is a maximum: in each class
    that share of the frequencies counts at which S differs most.

    **Reference**: Wang et al., NCFM, CVPR 2025: the discrepancy, and its maximum over frequencies.

    **Differs**: the published maximum is sought by a small network that draws frequencies and is trained to raise L.
    Here it is one over the frequencies of this step, whose means the gate tells in any case: nothing more is asked of
    T, and nothing has to be trained. Features are in the unit of ``kernel``, where the authors' code scales each to
    length one.
    """

    amplitude: Share = 0.5
    """Weight a of the amplitudes, where the phases have 1 - a. Published: 0.5."""
    worst: PositiveShare = 1.0
    """Share of the frequencies that count in a class, those at which S differs most; 1 for all, so no maximum. The
    authors' configurations of CIFAR-10 leave their network for it out."""
    kernel: Gaussian = Gaussian()
    """What frequencies are drawn for, of f in units in which the mean squared distance of two items of S is d."""

    def seen(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Draw:
        return embedded(draw, frequencies(self.kernel, draw, synthetic, ctx))

    def distance(self, draw: Draw, real: Tensor, made: Tensor, share: float) -> Tensor:
        m = real.shape[1] // 2
        (x, y), (u, v) = ((m**0.5 * means).unflatten(1, (2, m)).unbind(1) for means in (real, made))
        sizes = [(a.square() + b.square()).clamp_min(1e-12).sqrt() for a, b in ((x, y), (u, v))]
        amplitude = (sizes[0] - sizes[1]).square()
        phase = (x - u).square() + (y - v).square() - amplitude
        found = (self.amplitude * amplitude + (1 - self.amplitude) * phase).clamp_min(1e-12).sqrt()
        return found.topk(max(1, round(self.worst * m)), 1).values.mean(1).sum()
