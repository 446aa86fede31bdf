"""What every carrier is."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ddcore.errors import RecipeRefused
from ddcore.networks.base import Activation, At, Chain, Conv, Layer
from ddcore.parts import Part
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard, Params, Transform


@dataclass(frozen=True)
class Carrier(Part, kind="carrier"):
    """How the inputs of S are represented, for ``ipc`` images per class."""

    ipc: int = 1

    def __post_init__(self) -> None:
        if self.ipc < 1:
            raise RecipeRefused(f"ipc = {self.ipc}: at least one image per class is needed.")

    @property
    def judged(self) -> bool:
        """It chooses by a network that was trained on T."""
        return False

    def check(self, card: DataCard) -> None:
        """Raises RecipeRefused where the carrier does not suit the data."""
        if "examples" in self.asks and self.ipc > min(card.counts):
            small = card.counts.index(min(card.counts))
            raise RecipeRefused(
                f"ipc = {self.ipc} wants more real images than class {small} of {card.name} has"
                f" ({card.counts[small]}). Choose a smaller ipc."
            )

    @abstractmethod
    def build(self, card: DataCard) -> CarrierModule:
        """The live carrier, from shapes alone."""


class ImagesModule(CarrierModule):
    """Stores ``pixels`` (k * ipc, ...): images in the range of preprocessed inputs, each pixel learned."""

    def __init__(self, plan: Carrier, card: DataCard, items: int = 1) -> None:
        """``items``: how many inputs each image holds."""
        super().__init__()
        self.versions = items
        self.register_buffer("classes", classes_in_order(card, plan.ipc * items))
        self.pixels = nn.Parameter(torch.zeros(card.classes * plan.ipc, *card.shape))

    def project(self, into: Transform) -> None:
        with torch.no_grad():
            self.pixels.copy_(into(self.pixels))

    def nbytes(self) -> int:
        return self.pixels.nbytes


class DecodedModule(CarrierModule):
    """Decodes its inputs from its parameters, all of which are stored."""

    def nbytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.parameters())

    def latent(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.named_parameters()}


def classes_in_order(card: DataCard, ipc: int) -> Tensor:
    """The class of each item (k * ipc,), class by class."""
    return torch.arange(card.classes).repeat_interleave(ipc)


def herd(features: Tensor, mean: Tensor, n: int) -> Tensor:
    """The ``n`` rows of ``features`` (m, d) that herding towards ``mean`` (d,) takes, in its order.

    Row t+1 minimises ``|| mean - (sum of the first t + row) / (t + 1) ||``; no row is taken twice.
    """
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    taken = []
    for t in range(n):
        distance = ((total + features) / (t + 1) - mean).square().sum(1)
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total = total + features[best]
        taken.append(best)
    return torch.tensor(taken, device=features.device)


# --- images of tiles -------------------------------------------------------------------------------------


def tile_size(card: DataCard, factor: int) -> tuple[int, int]:
    """Height and width of the ``factor``^2 equal tiles of an image. Raises RecipeRefused where there are none."""
    if factor < 1 or len(card.shape) != 3 or any(side % factor for side in card.shape[1:]):
        raise RecipeRefused(
            f"synthetic.factor = {factor} does not cut items of shape {card.shape} into equal tiles. Take one"
            " that divides both sides of the images, or carrier pixels."
        )
    return card.shape[1] // factor, card.shape[2] // factor


def joined(tiles: Tensor, factor: int) -> Tensor:
    """Images (n, c, h, w) of tiles (n factor^2, c, h / factor, w / factor), row by row."""
    split = tiles.unflatten(0, (-1, factor, factor))
    return split.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def cluster_centres(points: Tensor, n: int, generator: Generator) -> Tensor:
    """The centres (n, d) of ``n`` clusters of ``points`` (m, d), by k-means."""
    from sklearn.cluster import KMeans

    seed = int(torch.randint(2**31, (), generator=generator))
    clusters = KMeans(n, n_init="auto", random_state=seed).fit(points.cpu().numpy())
    return torch.from_numpy(clusters.cluster_centers_).to(points)


# --- images from codes -----------------------------------------------------------------------------------


def doublings(scale: int) -> int:
    """How often sides are doubled to grow ``scale`` times. Raises RecipeRefused where that is no whole number."""
    if scale < 2 or scale & (scale - 1):
        raise RecipeRefused(f"synthetic.scale = {scale}: sides are doubled, so it must be 2, 4, 8 or so on.")
    return scale.bit_length() - 1


def reduced(card: DataCard, scale: int) -> tuple[int, int]:
    """A ``scale``-th of the sides of an image. Raises RecipeRefused where the items have none."""
    if len(card.shape) != 3 or any(side % scale for side in card.shape[1:]):
        raise RecipeRefused(
            f"Images are decoded from a {scale}th of their sides, but the items of {card.name} are {card.shape}: take"
            " a synthetic.scale that divides both sides."
        )
    return card.shape[1] // scale, card.shape[2] // scale


def codes_that_fit(card: DataCard, ipc: int, decoding: int, code: int, most: int) -> int:
    """Codes of ``code`` numbers a class that fit ``ipc`` images a class, beside ``decoding`` numbers for all classes.

    They are no more than ``most``.

    Raises:
        RecipeRefused: not even one.
    """
    budget = ipc * card.classes * math.prod(card.shape)
    found = (budget - decoding) // (card.classes * code)
    if found < 1:
        raise RecipeRefused(
            f"{ipc} images per class of {card.name} are {budget} numbers, but what decodes takes {decoding} and one"
            f" code a class {card.classes * code}: take less to decode with and smaller codes (see the fields of"
            " synthetic), or a larger ipc."
        )
    return min(found, most)


@dataclass(frozen=True)
class Enlarge(Layer):
    """Twice the height and the width, bilinearly."""

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def enlarging(card: DataCard, channels: int, width: int, scale: int) -> list[Layer]:
    """Layers from (n, channels, h / scale, w / scale) to images: after each doubling a 3x3 convolution."""
    layers: list[Layer] = []
    for left in reversed(range(doublings(scale))):
        out = width if left else card.shape[0]
        layers += [Enlarge(), Conv(channels, out), *([Activation("leaky_relu")] if left else [])]
        channels = out
    return layers


class Decoders(nn.Module):
    """``nets`` networks of one structure side by side, whose weights are parameters of this module."""

    def __init__(self, chain: Chain, nets: int = 1) -> None:
        super().__init__()
        self.chain = chain
        self.nets = nets
        drawn = self._drawn(Generator())
        self._paths = tuple(drawn)
        for path, value in drawn.items():
            self.register_parameter(path.replace(".", "_"), nn.Parameter(value))

    def _drawn(self, generator: Generator) -> Params:
        starts: list[Params] = []
        for _ in range(self.nets):
            starts.append({})
            self.chain.init("decoder", generator, starts[-1], {})
        return {name: torch.stack([start[name] for start in starts]) for name in starts[0]}

    def start(self, generator: Generator) -> None:
        """Weights drawn from ``generator``."""
        self._fill(self._drawn(generator))

    def take(self, params: Params) -> None:
        """The weights that stand in ``params`` under ``decoder.``, for every one of the networks."""
        self._fill({path: params[path].expand(self.nets, *params[path].shape) for path in self._paths})

    def _fill(self, weights: Params) -> None:
        with torch.no_grad():
            for path, held in zip(self._paths, self.parameters(), strict=True):
                held.copy_(weights[path])

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, ...) through every decoder: (n, nets, c, h, w)."""
        params: Params = dict(zip(self._paths, self.parameters(), strict=True))
        each = codes.repeat(1, self.nets, *(1 for _ in codes.shape[2:]))
        return self.chain(At(params, {}, True, self.nets), "decoder", each).unflatten(1, (self.nets, -1))
