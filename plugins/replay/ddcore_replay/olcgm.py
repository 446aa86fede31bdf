"""A memory that condenses real images as they stream in, into linear combinations of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_replay.course import moments
from ddcore_replay.memory import Bounded, KeptBounded, shared
from ddcore_replay.stream import joined, present, taken


@dataclass(frozen=True)
class Olcgm(Bounded):
    """Condense instead of evict: what a class has too much of is mixed, x' = (W * M) x, by gradient matching.

    Classes so far share the room equally. While a class has room, its items are kept. Where a new class takes room, and
    after every ``every`` batches without one, a class's images, and as many of its items of the current batch, are
    condensed into as many as it has room for: M (m, n) is a partition, each output mixes its own few inputs; the rows
    of W * M sum to 1; and W alone is learned, on D( grad l(x'), grad l(x) ), D of DC. It starts as the mean of the
    inputs. No class, order or experience need be known, and a class may come again and again.

    **Reference**: Sangermano et al., Sample Condensation in Online Continual Learning, IJCNN 2022; numbers from the
    authors' code.

    **Differs**: which items meet in an output (the j-th of n in output j modulo m), that the items beside the stored
    ones are those of one batch, and that networks are fresh, are ours; mixed images are clamped to [0, 1] and stored as
    bytes where T is, and as floats where T is.
    """

    batch: dd.Count = 10
    """Items per mini-batch of the stream. Published: 10."""
    every: dd.Count = 5
    """Batches without a new class after which all classes are condensed. Published: 5."""
    outer: dd.Count = 20
    """Fresh networks per condensing. Published: 20."""
    inner: dd.Count = 3
    """Steps of SGD on W at each. Published: 3."""
    lr: dd.Positive = 0.01
    """Learning rate of W. Published: 0.01."""
    distance: dd.Distance = field(default_factory=dd.FilterCosine)
    """Distance D between two gradients."""
    network: dd.NetworkPlan = field(default_factory=lambda: dd.ConvNet(width=16))
    """The networks at which gradients are matched."""

    def build(self, card: dd.DataCard, seed: int, device: str, host: dd.Host) -> KeptOlcgm:
        return KeptOlcgm(self, card, seed, device)


class KeptOlcgm(KeptBounded):
    def __init__(self, plan: Olcgm, card: dd.DataCard, seed: int, device: str) -> None:
        super().__init__(card)
        self.plan, self.images, self.device = plan, plan.images(card), torch.device(device)
        self.rng = dd.Streams(seed)
        self.quiet = 0
        """Batches since one brought a class, or since all classes were condensed."""
        self._preprocess: dd.Fitted | None = None

    def learn(self, store: dd.Store) -> None:
        """Take in items, batch by batch, in a random order.

        Raises:
            RecipeRefused: there is no room for an image of each class.
        """
        if self._preprocess is None:
            plan = dd.Standardise().fitted(self.card)
            self._preprocess = plan.start(self.card, lambda: moments(store))
        for rows in torch.randperm(len(store), generator=self.rng["order"]).split(self.plan.batch):
            self._meet(taken(store, rows))

    def resize(self, images: int) -> None:
        self.images = images
        classes = present(self.store)
        if classes:
            room = shared(images, len(classes))
            self.store = joined([self._fitted(_only(self.store, c), room) for c in classes])

    def _meet(self, batch: dd.Store) -> None:
        before, here = present(self.store), present(batch)
        classes = sorted({*before, *here})
        room = shared(self.images, len(classes))
        self.quiet = 0 if len(classes) > len(before) else self.quiet + 1
        due = self.quiet == self.plan.every
        self.quiet %= self.plan.every
        kept = []
        for c in classes:
            old, new = _only(self.store, c), _only(batch, c)
            free = max(0, room - len(old)) + (room if due else 0)
            kept.append(self._fitted(joined([old, taken(new, torch.arange(min(len(new), free)))]), room))
        self.store = joined(kept)

    def _fitted(self, store: dd.Store, room: int) -> dd.Store:
        """The items of one class, condensed where there are more than ``room``."""
        return store if len(store) <= room else self._condensed(store, room)

    def _condensed(self, store: dd.Store, room: int) -> dd.Store:
        assert self._preprocess is not None
        plan, raw = self.plan, store.take(torch.arange(len(store)))
        images, targets = self._preprocess(raw.inputs).to(self.device), raw.targets.to(self.device)
        place = (torch.arange(len(store)) % room).to(self.device)
        weights = torch.ones(len(store), device=self.device, requires_grad=True)
        network = plan.network.ready(self.card)
        for _ in range(plan.outer):
            params, buffers = network.init(self.rng["nets"])
            params = {name: value.to(self.device).requires_grad_() for name, value in params.items()}
            draw = dd.Draw(network, params, {name: value.to(self.device) for name, value in buffers.items()})
            goal = {name: value.detach() for name, value in _gradient(draw, images, targets).items()}
            for _ in range(plan.inner):
                made = _gradient(draw, mixed(images, weights, place, room), targets[:room])
                (slope,) = torch.autograd.grad(plan.distance(made, goal), weights)
                with torch.no_grad():
                    weights -= plan.lr * slope
        inputs = mixed(raw.inputs, weights.detach().cpu(), place.cpu(), room)
        if store.inputs.dtype == torch.uint8:
            inputs = (255 * inputs).round().clamp(0, 255).to(torch.uint8)
        return dd.Store.of(inputs, store.targets[:room], self.card.classes)


def mixed(images: Tensor, weights: Tensor, place: Tensor, room: int) -> Tensor:
    """x' (room, ...) = (W * M) x of images x (n, ...): M has one 1 a column, at ``place`` (n,), and W * M the
    ``weights`` (n,) there, over the sum of their row."""
    sums = weights.new_zeros(room).index_add(0, place, weights)
    shaped = (weights / sums[place]).view(-1, *(1 for _ in images.shape[1:]))
    return images.new_zeros(room, *images.shape[1:]).index_add(0, place, shaped * images)


def _gradient(draw: dd.Draw, images: Tensor, targets: Tensor) -> dd.Params:
    loss = dd.cross_entropy(draw(images), targets).mean()
    gradient = torch.autograd.grad(loss, list(draw.params.values()), create_graph=True)
    return dict(zip(draw.params, gradient, strict=True))


def _only(store: dd.Store, c: int) -> dd.Store:
    return taken(store, (store.targets == c).nonzero().flatten())
