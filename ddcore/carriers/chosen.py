"""Real images, chosen and never changed: the baselines of every comparison."""

from __future__ import annotations

import sys
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ddcore.augment.crop import Crop
from ddcore.augment.transforms import cropped
from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, classes_in_order, values_to_come
from ddcore.carriers.picking import cluster_centres, herd, medoids
from ddcore.carriers.tiles import joined, tile_size
from ddcore.chunking import chunk_size, slices
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.gate.fit import Fit
from ddcore.losses import cross_entropy
from ddcore.store import Inputs, plain, repeated
from ddcore.synthetic import CarrierModule
from ddcore.types import Batch, DataCard, Draw, Group, Network


@dataclass(frozen=True)
class Chosen(Carrier):
    """``ipc`` real images per class, counted at a byte per value where T came so."""

    whole: ClassVar[bool] = True
    """They are as they were in T, and not made of parts of them."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset()

    @property
    def asks(self) -> frozenset[str]:
        return super().asks | {"examples"}

    def build(self, card: DataCard) -> ChosenModule:
        return ChosenModule(self, card)

    @abstractmethod
    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        """The chosen items (ipc, ...) of class ``c``, and their targets."""

    def prepare(self, ctx: Context) -> Draw | None:
        """The network to choose by; None where none is needed."""
        return None


@dataclass(frozen=True)
class Random(Chosen):
    """Uniformly, without replacement."""

    strata: bool = False
    """Of values, one item from each of ``ipc`` equal parts of all items in the order of their first value, so that the
    whole range is there. Classes are strata by themselves."""

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        wanted = self.per_class(ctx.card)[c]
        spread = self.strata and ctx.card.values is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,), size=None if spread else wanted)])
        if not spread:
            return batch.inputs, batch.targets
        parts = batch.targets[:, 0].argsort(stable=True).tensor_split(wanted)
        rows = torch.stack([p[int(torch.randint(len(p), (), generator=ctx.rng["strata"]))] for p in parts])
        return batch.inputs[rows], batch.targets[rows]


class Clustered(Chosen):
    """One item for each of ``ipc`` clusters of the items of a class, as networks take them."""

    suits = frozenset({"image", "vector", "signal", "video"})


@dataclass(frozen=True)
class KMeans(Clustered):
    """The centres of k-means: means of real items, with the means of their values."""

    whole: ClassVar[bool] = False

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        points = plain(batch.inputs).flatten(1)
        centres = cluster_centres(points, self.per_class(ctx.card)[c], ctx.rng["clusters"])
        nearest = torch.cdist(points, centres).argmin(1)
        members = functional.one_hot(nearest, len(centres)).T.float()
        targets = members @ batch.targets.view(len(batch), -1).float() / members.sum(1, keepdim=True).clamp_min(1)
        return centres.view(-1, *ctx.card.shape), targets


@dataclass(frozen=True)
class KMedoids(Clustered):
    """The medoids of k-medoids: real items, each the one with the least sum of distances to those nearest to it.

    Medoids and their neighbours take turns from a random start, until nothing changes.

    **Reference**: Park and Jun, A simple and fast algorithm for K-medoids clustering, 2009.
    """

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        rows = medoids(plain(batch.inputs).flatten(1), self.per_class(ctx.card)[c], ctx.rng["clusters"])
        return batch.inputs[rows], batch.targets[rows]


class Judged(Chosen):
    """Real images that are chosen by a network trained on T."""

    fit: Fit
    """How that network is trained."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"teacher"})

    def prepare(self, ctx: Context) -> Draw:
        draw = ctx.fresh()
        *_, params = ctx.gate.fit(draw, self.fit, "training the network to choose by", ctx.progress)
        return Draw(draw.network, params, draw.buffers, age=self.fit.length(sum(ctx.card.counts)))


def answers(draw: Draw, batch: Batch, ctx: Context, features: bool = False) -> Tensor:
    """The answers (n, k) of the network of ``draw`` to a class, or (e, n, k) of its ensemble."""
    nets, one = draw.ensemble, draw
    if nets is not None:
        params, buffers = ({name: value[0] for name, value in held.items()} for held in (draw.params, draw.buffers))
        one = Draw(draw.network, params, buffers)
    found = []
    with torch.no_grad():
        for part in slices(len(batch), max(1, chunk_size(one, ctx.card.shape) // (nets or 1))):
            inputs = batch.inputs[part]
            seen = inputs if nets is None else repeated(inputs, nets)
            found.append(draw(seen, features=features, training=False))
    return torch.cat(found, dim=-2)


@dataclass(frozen=True)
class Herding(Judged):
    """x_{t+1} = argmin_x || mu_c - (f(x) + sum_{s <= t} f(x_s)) / (t + 1) ||: greedily towards the class mean mu_c.

    f is the features of one network trained on T.
    """

    fit: Fit = Fit()
    """How the network whose features are compared is trained."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"})

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,))])
        features = answers(draw, batch, ctx, features=True)
        rows = herd(features, features.mean(0), self.per_class(ctx.card)[c])
        return batch.inputs[rows], batch.targets[rows]


@dataclass(frozen=True)
class Mosaic(Judged):
    """Images of ``factor``^2 tiles, each a crop of a real image that a network trained on T is sure of.

    Each crop is resized to full size and scored by the network's cross-entropy at its class. The best crop of each
    image comes first, in order of the score; where these do not suffice, second crops follow. Tiles are reduced by
    averaging pixels.

    **Reference**: Sun et al., RDED, CVPR 2024, Section 4.
    """

    classes_only = True
    suits = frozenset({"image"})
    whole: ClassVar[bool] = False

    factor: Count = 2
    """Tiles per side of an image; it must divide both sides. Published: 2 for ImageNet-1K, 1 for small images."""
    fit: Fit = Fit()
    """How the network that scores crops is trained."""
    crops: Count = 5
    """Crops drawn of each image. Published: 5."""
    crop: Crop = Crop(low=0.25, flip=False)
    """How crops are drawn."""
    pool: Count | None = 300
    """Largest number of images of each class that crops are drawn of, None for all. Published: 300."""

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        super().check(recipe, card, network)
        tile_size(card, self.factor)
        there = self.crops * min(self.pool or sys.maxsize, *card.counts)
        if self.budget * self.factor**2 > there:
            raise RecipeRefused(
                f"{self.budget} images of {self.factor**2} tiles need more crops than the {there} that are drawn of the"
                f" smallest class of {card.name}: raise synthetic.crops or synthetic.pool, or lower ipc."
            )

    def choose(self, c: int, ctx: Context, draw: Draw | None) -> tuple[Inputs, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([Group(classes=(c,), size=self.pool)])
        boxes = self.crop.boxes(ctx.rng["crops"], len(batch) * self.crops)

        def shown(places: Tensor) -> Tensor:
            return cropped(boxes[places])(batch.inputs[places.to(batch.inputs.device) // self.crops])

        with torch.no_grad():
            parts = torch.arange(len(boxes)).split(chunk_size(draw, ctx.card.shape))
            logits = torch.cat([draw(shown(part), training=False) for part in parts])
        loss = cross_entropy(logits, torch.full((len(boxes),), c, device=logits.device)).cpu()
        best = surest(loss.view(len(batch), -1))[: self.budget * self.factor**2]
        tiles = functional.interpolate(shown(best), size=tile_size(ctx.card, self.factor), mode="area")
        return joined(tiles, self.factor), torch.full((self.budget,), c)


def surest(loss: Tensor) -> Tensor:
    """The places in ``loss`` (m, crops), flattened: every image's best crop in order of loss, then the second ones."""
    rank = loss.sort(dim=1, stable=True).indices.argsort(1).flatten()
    by_loss = loss.flatten().argsort(stable=True)
    return by_loss[rank[by_loss].argsort(stable=True)]


class ChosenModule(CarrierModule):
    images: Tensor

    def __init__(self, plan: Chosen, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("classes", classes_in_order(plan.per_class(card)))
        self.values = values_to_come(card, len(self.classes))
        self.register_buffer("images", torch.zeros(len(self.classes), *card.shape))
        self.in_bytes = card.unit_range and plan.whole

    def start(self, ctx: Context) -> None:
        judge = self.plan.prepare(ctx)
        self.judge = judge if "teacher" in self.plan.gives else None
        for c in range(ctx.card.classes):
            inputs, targets = self.plan.choose(c, ctx, judge)
            self.images[self.classes == c] = plain(inputs)
            if self.values is not None:
                self.values.copy_(targets)

    def forward(self, index: Tensor) -> Tensor:
        return self.images[index]

    def nbytes(self) -> int:
        return self.images.numel() if self.in_bytes else self.images.nbytes
