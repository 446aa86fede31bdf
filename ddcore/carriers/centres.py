"""Centres of the classes in the latent space of an autoencoder that is trained on T."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from ddcore.bounds import Count, Positive
from ddcore.carriers.base import Carrier, DecodedModule, ImagesModule, classes_in_order
from ddcore.carriers.decoding import Decoders, Doubled, codes_that_fit, doublings, enlarging, reduced, scale_faults
from ddcore.carriers.picking import cluster_centres
from ddcore.chunking import chunk_size, slices
from ddcore.context import Context
from ddcore.device import all_sent
from ddcore.networks.layers import Activation, At, Chain, Conv, Layer, Pooling, chain
from ddcore.parts import Part
from ddcore.types import Call, DataCard, Draw, Group, Network, Params


@dataclass(frozen=True)
class Autoencoder(Network):
    """A network whose features are an item's latent (n, d) and whose outputs are x - decode(encode(x)), flat (n, ...).

    So a gate's features are mean latents, and its gradient of :func:`mean_square` trains it.
    """

    encoder: Chain
    decoder: Chain

    @property
    def per_sample(self) -> bool:
        return self.encoder.per_sample and self.decoder.per_sample

    def init(self, generator: Generator) -> tuple[Params, Params]:
        params: Params = {}
        self.encoder.init("encoder", generator, params, {})
        self.decoder.init("decoder", generator, params, {})
        return params, {}

    def apply(self, call: Call, x: Tensor) -> Tensor:
        assert call.ensemble is None, "an autoencoder is trained alone"
        at = At(call.params, call.buffers, call.training, 1)
        latent = self.encoder(at, "encoder", x)
        return latent.flatten(1) if call.features else (x - self.decoder(at, "decoder", latent)).flatten(1)


def encoding(card: DataCard, channels: int, width: int, scale: int) -> list[Layer]:
    """Layers from images to (n, channels, h / scale, w / scale): before each halving a 3x3 convolution."""
    layers: list[Layer] = []
    into = card.shape[0]
    for _ in range(doublings(scale)):
        layers += [Conv(into, width), Activation("leaky_relu"), Pooling("avg")]
        into = width
    return [*layers, Conv(into, channels)]


def mean_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean square of an item's outputs (n, d), whatever its target: (n,)."""
    return outputs.square().mean(1)


@dataclass(frozen=True)
class Reconstruct(Part, kind="reconstruct"):
    """How an autoencoder is trained on T: Adam on the mean squared error, at a rate that falls to zero along a cosine.

    Each step is one request to the gate.
    """

    steps: Count = 1000
    """Steps of training."""
    batch: Count = 64
    """Items of T per step."""
    lr: Positive = 5e-3
    """Learning rate of the first step."""

    def train(self, network: Autoencoder, ctx: Context) -> Draw:
        """``network`` as it is after training."""
        params, buffers = network.init(ctx.rng["init"])
        params = all_sent(params, ctx.device)
        optimiser = torch.optim.Adam(params.values(), self.lr)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        draw = Draw(network, params, buffers)
        for step in range(self.steps):
            (gradient,) = ctx.gate.gradient(draw, [Group(size=self.batch)], mean_square)
            for name, value in params.items():
                value.grad = gradient[name]
            optimiser.step()
            rate.step()
            if ctx.progress:
                ctx.progress("training the autoencoder", step + 1, self.steps)
        return draw


@dataclass(frozen=True)
class Centres(Carrier):
    """What an autoencoder decodes of the centres of each class's latents: x_cj = D(z_cj).

    The encoder halves the sides step by step with 3x3 convolutions, the decoder doubles them likewise. Both are trained
    on T and then fixed.

    **Reference**: Su et al., D4M, CVPR 2024, Section 3.

    **Differs**: see :func:`ddcore.recipes.generative.d4m`.
    """

    suits = frozenset({"image"})

    stored: Literal["codes", "images"] = "codes"
    """``codes``: the centres and the decoder are kept, as many centres as fit the bytes of ``ipc`` images per class
    with the decoder's weights counted. ``images``: ``ipc`` centres per class are decoded once, and only the images are
    kept."""
    centres: Literal["clusters", "means"] = "clusters"
    """``clusters``: the centres that k-means finds among the latents of a class, one class in memory at a time.
    ``means``: one mean latent per class, which asks no more of T than mean features."""
    channels: Count = 2
    """Channels of a latent."""
    width: Count = 8
    """Channels between the convolutions of the decoder."""
    encoder: Count = 32
    """Channels between the convolutions of the encoder."""
    scale: Doubled = 4
    """Sides of an image over those of a latent: a power of two that divides both sides."""
    training: Reconstruct = Reconstruct()
    """How encoder and decoder are trained on T."""
    real: Count | None = None
    """Items of each class whose latents are used, at least ``ipc``; None for all."""
    most: Count = 500
    """Largest number of codes per class; bytes beyond that stay unused."""

    def faults(self) -> Iterator[str]:
        yield from scale_faults(self.scale)
        if self.real is not None and self.real < self.ipc:
            yield f"real = {self.real}: it must be at least ipc = {self.ipc}"
        if self.centres == "means" and self.budget > 1:
            yield (
                f"ipc = {self.ipc}: a class has one mean latent, which is one image; take ipc = 1, or"
                ' centres = "clusters"'
            )

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient", "examples" if self.centres == "clusters" else "features"})

    def code(self, card: DataCard) -> tuple[int, int, int]:
        """A latent's shape. Raises RecipeRefused where the images have none."""
        return self.channels, *reduced(card, self.scale)

    def decoder(self, card: DataCard) -> Chain:
        return chain(*enlarging(card, self.channels, self.width, self.scale))

    def autoencoder(self, card: DataCard) -> Autoencoder:
        return Autoencoder(chain(*encoding(card, self.channels, self.encoder, self.scale)), self.decoder(card))

    def each(self, card: DataCard) -> int:
        """Centres per class. Raises RecipeRefused where not even one fits."""
        if self.stored == "images":
            return self.budget
        weights = sum(parameter.numel() for parameter in Decoders(self.decoder(card)).parameters())
        most = min(self.most, self.real or self.most, *card.counts) if self.centres == "clusters" else 1
        return codes_that_fit(card, self.budget, weights, math.prod(self.code(card)), most)

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        self.code(card)
        self.each(card)

    def build(self, card: DataCard) -> CentreImages | CentreCodes:
        return CentreImages(self, card) if self.stored == "images" else CentreCodes(self, card)

    def found(self, ctx: Context) -> tuple[Tensor, Draw]:
        """The centres (k * each, channels, h, w), class by class, and the trained autoencoder."""
        draw = self.training.train(self.autoencoder(ctx.card), ctx)
        if self.centres == "means":
            latents = torch.stack(ctx.gate.features(draw, [Group((c,), self.real) for c in range(ctx.card.classes)]))
        else:
            latents = torch.cat([self._clustered(c, draw, ctx) for c in range(ctx.card.classes)])
        return latents.unflatten(1, self.code(ctx.card)), draw

    def _clustered(self, c: int, draw: Draw, ctx: Context) -> Tensor:
        """The centres (each, d) of class ``c``."""
        (batch,) = ctx.gate.examples([Group((c,), self.real)])
        room = chunk_size(draw, ctx.card.shape)
        with torch.no_grad():
            latents = torch.cat([draw(batch.inputs[part], features=True) for part in slices(len(batch), room)])
        return cluster_centres(latents, self.each(ctx.card), ctx.rng["centres"])


class CentreImages(ImagesModule):
    """Stores the decoded images."""

    def __init__(self, plan: Centres, card: DataCard) -> None:
        super().__init__(plan, card)
        self.plan = plan

    def start(self, ctx: Context) -> None:
        codes, draw = self.plan.found(ctx)
        decoder = Decoders(self.plan.decoder(ctx.card)).to(ctx.device)
        decoder.take(draw.params)
        with torch.no_grad():
            self.pixels.copy_(decoder(codes)[:, 0])

    def forward(self, index: Tensor) -> Tensor:
        return self.pixels[index]


class CentreCodes(DecodedModule):
    """Stores the centres and the decoder."""

    def __init__(self, plan: Centres, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("classes", classes_in_order([plan.each(card)] * card.classes))
        self.codes = nn.Parameter(torch.zeros(len(self.classes), *plan.code(card)))
        self.decoder = Decoders(plan.decoder(card)).requires_grad_(False)

    def start(self, ctx: Context) -> None:
        codes, draw = self.plan.found(ctx)
        self.decoder.take(draw.params)
        with torch.no_grad():
            self.codes.copy_(codes)

    def forward(self, index: Tensor) -> Tensor:
        return self.decoder(self.codes[index])[:, 0]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.codes]}
