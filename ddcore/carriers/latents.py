"""Latents of a generator that is trained on T or read from a file and stands still, or is learned with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ddcore.carriers.base import Carrier, DecodedModule, classes_in_order
from ddcore.carriers.decoding import Decoders, codes_that_fit, doublings, enlarging, reduced
from ddcore.carriers.picking import herd
from ddcore.chunking import slices
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.networks.layers import At, Layer, Linear, chain
from ddcore.parts import Part
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
    """How a generator is trained on T against a discriminator, by turns, ``steps`` times with Adam.

    The discriminator D is the run's own network, its k outputs one predicted_shares a class. It descends
    mean softplus(-D(x)[y]) + mean softplus(D(G(z, y'))[y']) over ``batch`` items of T and as many of the generator's,
    of uniform classes y'. The generator descends mean softplus(-D(G(z, y'))[y']) + ``seeking`` mean |z - z'| /
    |G(z, y') - G(z', y')|, so that latents of one class differ in what they make. T enters by the gradient of the
    discriminator's first term alone: a request a step.

    References: Goodfellow et al., NeurIPS 2014, Section 3, with the loss that does not saturate; Mao et al., Mode
    Seeking Generative Adversarial Networks, CVPR 2019, whose ratio of distances is here turned over and minimised.
    """

    steps: int = 1000
    seeking: float = 0.1
    batch: int = 64
    lr: float = 5e-3
    discriminator_lr: float = 1e-3
    beta: float = 0.5

    def faults(self) -> Iterator[str]:
        if min(self.steps, self.batch) < 1:
            yield (f"{self}: steps and batch must be at least 1.")
        if not all(0 < rate < math.inf for rate in (self.lr, self.discriminator_lr)) or not 0 <= self.beta < 1:
            yield (f"{self}: rates must be above zero and finite, beta from 0 and below 1.")


def real_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """softplus(-D(x)[y]), one number an item: the discriminator's on real items, the generator's on its own."""
    return F.softplus(-outputs.gather(1, targets[:, None])[:, 0])


def fake_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """softplus(D(G(z, y))[y]), one number an item: the discriminator's on the generator's items."""
    return F.softplus(outputs.gather(1, targets[:, None])[:, 0])


def mode_seeking(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
    """|a - b| / |of_a - of_b| (n,) of latents (n, size) and what they make (n, ...), both means of absolute values."""
    return (a - b).abs().flatten(1).mean(1) / ((of_a - of_b).abs().flatten(1).mean(1) + 1e-5)


@dataclass(frozen=True)
class Latents(Carrier):
    """Learned latents of each class in a class-conditional generator that stands still.

    A latent has ``size`` numbers. The generator takes it with its class, one-hot, through a linear layer to
    ``channels`` images of a ``scale``-th of the sides, and enlarges them twofold, by turns with 3x3 convolutions to
    ``width`` channels. There are as many latents as fit the bytes of ``ipc`` images per class, the generator's
    weights counted. It is trained on T as ``training`` says, or read from the safetensors file ``generator``: an
    artefact whose carrier was of the same sizes, or the weights alone. What the file was trained on is not covered by
    any guarantee of this run's: under a private gate it must be public. Without either it starts anew. It stands still,
    or is learned with the latents where ``learned``.

    Latents start as standard normal numbers. With ``tries`` above 1, so many times as many are drawn, and those of
    them stay whose mean feature is herded towards that of ``real`` items of the class, at one fresh network.

    Reference: Zhao and Bilen, Synthesizing Informative Training Samples with GAN, 2022, Section 3. Differs: the
    paper's generator is a BigGAN, and its latents start as inversions of single real images, which wants examples.
    """

    suits = frozenset({"image"})

    size: int = 8
    channels: int = 4
    width: int = 12
    scale: int = 4
    training: Adversarial | None = Adversarial()
    generator: str | None = None
    learned: bool = False
    tries: int = 8
    real: int = 64
    most: int = 500
    """Latents a class at the most: beyond, bytes are left over."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if min(self.size, self.channels, self.width, self.tries, self.real) < 1:
            yield (f"{self}: size, channels, width, tries and real must be at least 1.")
        doublings(self.scale)

    @property
    def asks(self) -> frozenset[str]:
        trained = {"gradient"} if self.training and self.generator is None else set()
        return frozenset(trained | {"features"} if self.tries > 1 else trained)

    def live_generator(self, card: DataCard) -> Decoders:
        height, width = reduced(card, self.scale)
        first = Linear(self.size + card.classes, self.channels * height * width)
        return Decoders(chain(first, Shaped(height, width), *enlarging(card, self.channels, self.width, self.scale)))

    def latents(self, card: DataCard) -> int:
        """Latents a class. Raises RecipeRefused where not even one fits."""
        weights = sum(p.numel() for p in self.live_generator(card).parameters())
        return codes_that_fit(card, self.ipc, weights, self.size, self.most)

    def read(self, card: DataCard) -> dict[str, Tensor]:
        """The generator's weights from its file. Raises RecipeRefused where it holds others."""
        assert self.generator is not None
        try:
            held = load_file(self.generator)
        except (SafetensorError, OSError) as error:
            raise RecipeRefused(
                f"synthetic.generator = {self.generator} is not a safetensors file ({error})."
            ) from error
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
