"""Latents of a generator that is trained on T or read from a file, then fixed or learned with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddcore.bounds import Count, Decay, FilePath, NotNegative, Positive
from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import Decoders, Doubled, codes_that_fit, enlarging, reduced, scale_faults
from ddcore.carriers.picking import herd
from ddcore.chunking import slices
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.networks.layers import At, Layer, Linear, chain
from ddcore.parts import Part
from ddcore.tensors import read_tensors
from ddcore.types import DataCard, Group, Network

IN_ARTEFACT = "latent.generator."
"""What the names of a generator's weights begin with in an artefact."""


@dataclass(frozen=True)
class Shaped(Layer):
    """Flat features (n, c * h * w) as images (n, c, h, w)."""

    height: int
    width: int

    def __call__(self, at: At, path: str, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.height, self.width))


@dataclass(frozen=True)
class Adversarial(Part, kind="adversarial"):
    """How a generator G is trained on T against a discriminator D, in alternating steps of Adam.

    D is the run's own network, its k outputs one verdict per class. It descends
    mean softplus(-D(x)[y]) + mean softplus(D(G(z, y'))[y']) over a batch of T and one of G's, of uniform classes y'. G
    descends mean softplus(-D(G(z, y'))[y']) + ``seeking`` mean |z - z'| / |G(z, y') - G(z', y')|, so that different
    latents of a class make different images. T enters by the gradient of D's first term alone: one request per step.

    **References**: Goodfellow et al., NeurIPS 2014, Section 3, with the non-saturating loss; Mao et al., Mode Seeking
    Generative Adversarial Networks, CVPR 2019.

    **Differs**: Mao et al. maximise the ratio of distances; here its inverse is minimised.
    """

    steps: Count = 1000
    """Steps of each of the two."""
    seeking: NotNegative = 0.1
    """Weight of the mode-seeking term; 0 leaves it out."""
    batch: Count = 64
    """Items of T, and of the generator, per step."""
    lr: Positive = 5e-3
    """Adam's learning rate of the generator."""
    discriminator_lr: Positive = 1e-3
    """Adam's learning rate of the discriminator."""
    beta: Decay = 0.5
    """Adam's first beta of both; 0.5 is usual for GANs."""


def real_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """softplus(-D(x)[y]), one value per item: the discriminator's on real items, the generator's on its own."""
    return F.softplus(-outputs.gather(1, targets[:, None])[:, 0])


def fake_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """softplus(D(G(z, y))[y]), one value per item: the discriminator's on the generator's items."""
    return F.softplus(outputs.gather(1, targets[:, None])[:, 0])


def mode_seeking(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
    """|a - b| / |of_a - of_b| (n,) of latents (n, size) and what they make (n, ...), both means of absolute values."""
    return (a - b).abs().flatten(1).mean(1) / ((of_a - of_b).abs().flatten(1).mean(1) + 1e-5)


@dataclass(frozen=True)
class Latents(Carrier):
    """Learned latents of each class in a class-conditional generator: x = G(z, c).

    G takes a latent and its class, one-hot, through a linear layer to small images and doubles their sides step by
    step, with a 3x3 convolution after each. There are as many latents as fit the bytes of ``ipc`` images per class, the
    generator's weights counted.

    **Reference**: Zhao and Bilen, Synthesizing Informative Training Samples with GAN, 2022, Section 3.

    **Differs**: the paper's generator is a BigGAN, and its latents start as inversions of single real images, which
    needs examples.
    """

    suits = frozenset({"image"})

    size: Count = 8
    """Values of a latent; they start standard normal."""
    channels: Count = 4
    """Channels of the small images that the linear layer makes."""
    width: Count = 12
    """Channels between the convolutions of the generator."""
    scale: Doubled = 4
    """Sides of an image over those of the small images: a power of two that divides both sides."""
    training: Adversarial | None = Adversarial()
    """How the generator is trained on T; None to start from random weights."""
    generator: FilePath | None = None
    """A safetensors file that the generator is read from instead of training it: an artefact whose carrier had the same
    sizes, or the weights alone. No guarantee of this run covers what it was trained on: under a private gate that must
    be public."""
    learned: bool = False
    """Whether the generator is learned together with the latents; else it is fixed."""
    tries: Count = 8
    """Candidates per latent. Above 1, so many times as many latents are drawn, and those are kept whose mean feature is
    herded towards that of T at one fresh network."""
    real: Count = 64
    """Items of each class behind that mean feature of T."""
    most: Count = 500
    """Largest number of latents per class; bytes beyond that stay unused."""

    def faults(self) -> Iterator[str]:
        return scale_faults(self.scale)

    @property
    def asks(self) -> frozenset[str]:
        trained = {"gradient"} if self.training and self.generator is None else set()
        return frozenset(trained | {"features"} if self.tries > 1 else trained)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"} if self.tries > 1 else ())

    def live_generator(self, card: DataCard) -> Decoders:
        height, width = reduced(card, self.scale)
        first = Linear(self.size + card.classes, self.channels * height * width)
        return Decoders(chain(first, Shaped(height, width), *enlarging(card, self.channels, self.width, self.scale)))

    def latents(self, card: DataCard) -> int:
        """Latents per class. Raises RecipeRefused where not even one fits."""
        weights = sum(p.numel() for p in self.live_generator(card).parameters())
        return codes_that_fit(card, self.budget, weights, self.size, self.most)

    def read(self, card: DataCard) -> dict[str, Tensor]:
        """The generator's weights from its file. Raises RecipeRefused where it holds others."""
        assert self.generator is not None
        held, _ = read_tensors(self.generator, RecipeRefused, "synthetic.generator names a generator's weights.")
        within = {name.removeprefix(IN_ARTEFACT): value for name, value in held.items() if name.startswith(IN_ARTEFACT)}
        weights = within or held
        wanted = {name: tuple(p.shape) for name, p in self.live_generator(card).named_parameters()}
        found = {name: tuple(value.shape) for name, value in weights.items()}
        if found != wanted:
            raise RecipeRefused(
                f"synthetic.generator = {self.generator} holds {found}, but this generator for {card.name} has"
                f" {wanted}: give its size, channels, width and scale, or another file."
            )
        return weights

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        self.latents(card)
        if self.generator is not None:
            self.read(card)

    def build(self, card: DataCard) -> LatentsModule:
        return LatentsModule(self, card)


class LatentsModule(DecodedModule):
    def __init__(self, plan: Latents, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.each = plan.latents(card)
        self.register_buffer("classes", classes_in_order([self.each] * card.classes))
        self.latents = nn.Parameter(torch.zeros(len(self.classes), plan.size))
        self.generator = plan.live_generator(card).requires_grad_(plan.learned)
        self._card = card

    def images(self, latents: Tensor, classes: Tensor) -> Tensor:
        """What the generator makes of ``latents`` (n, size) of ``classes`` (n,)."""
        named = classes[:, None] == torch.arange(self._card.classes, device=classes.device)
        return self.generator(torch.cat([latents, named.to(latents)], 1))[:, 0]

    def drawn(self, n: int, ctx: Context) -> Tensor:
        """Standard normal latents (n, size)."""
        return torch.randn(n, self.plan.size, generator=ctx.rng["latents"]).to(ctx.device)

    def start(self, ctx: Context) -> None:
        if self.plan.generator is not None:
            self.generator.load_state_dict(self.plan.read(ctx.card))
        else:
            self.generator.start(ctx.rng["init"])
            if self.plan.training is not None:
                train(self, self.plan.training, ctx)
        with torch.no_grad():
            self.latents.copy_(self._chosen(ctx) if self.plan.tries > 1 else self.drawn(len(self.latents), ctx))

    def _chosen(self, ctx: Context) -> Tensor:
        """Latents (k * each, size) herded towards the mean features of T."""
        draw = ctx.fresh()
        means = ctx.gate.features(draw, [Group((c,), self.plan.real) for c in range(ctx.card.classes)])
        chosen = []
        for c, mean in enumerate(means):
            latents = self.drawn(self.plan.tries * self.each, ctx)
            images = self.images(latents, torch.full((len(latents),), c, device=ctx.device))
            parts = [
                ctx.gate.clip_features(draw(images[part], features=True)) for part in slices(len(images), ctx.room)
            ]
            chosen.append(latents[herd(torch.cat(parts), mean, self.each)])
        return torch.cat(chosen)

    def forward(self, index: Tensor) -> Tensor:
        return self.images(self.latents[index], self.classes[index])

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.latents], "generator": [p for p in self.generator.parameters() if p.requires_grad]}


def train(module: LatentsModule, plan: Adversarial, ctx: Context) -> None:
    """Train the generator of ``module`` as ``plan`` says."""
    weights = list(module.generator.requires_grad_(True).parameters())
    fresh = ctx.fresh()
    verdicts = [value.requires_grad_() for value in fresh.params.values()]
    makes = torch.optim.Adam(weights, plan.lr, (plan.beta, 0.999))
    judges = torch.optim.Adam(verdicts, plan.discriminator_lr, (plan.beta, 0.999))
    for step in range(plan.steps):
        classes = torch.randint(ctx.card.classes, (plan.batch,), generator=ctx.rng["latents"]).to(ctx.device)
        latents = module.drawn(plan.batch, ctx)
        images = module.images(latents, classes)
        (real,) = ctx.gate.gradient(fresh, [Group(size=plan.batch)], real_loss)
        made = torch.autograd.grad(fake_loss(fresh(images.detach()), classes).mean(), verdicts)
        for value, g_real, g_made in zip(verdicts, real.values(), made, strict=True):
            value.grad = g_real + g_made
        judges.step()
        loss = real_loss(fresh(images), classes).mean()
        if plan.seeking:
            others = module.drawn(plan.batch, ctx)
            loss = loss + plan.seeking * mode_seeking(latents, others, images, module.images(others, classes)).mean()
        for value, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            value.grad = gradient
        makes.step()
        if ctx.progress:
            ctx.progress("training the generator", step + 1, plan.steps)
    makes.zero_grad()
    module.generator.requires_grad_(module.plan.learned)
