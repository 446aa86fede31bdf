"""The gate: the one door to the real data T.

Objectives, policies, carriers and preprocessing reach T through five named disclosures and nothing else,
so that a guarded gate (privacy), a view (a trigger, an attack) or a shard (a federated client) is in force
everywhere at once.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.data import Store
from ddcore.memory import CHUNK_BYTES, cut, items_a_chunk
from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.types import Batch, DataCard, Draw, Group, ItemLoss, Network, Params, Transform

DISCLOSURES = ("gradient", "features", "statistics", "fit", "examples")
"""What a part may ask of T, from the least to the most."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (n, k) and classes (n,), one number an item (n,)."""
    return F.cross_entropy(outputs, targets, reduction="none")


@dataclass(frozen=True)
class Fit(Part, kind="fit"):
    """How a network is trained on T: SGD on batches drawn without replacement."""

    steps: int = 200
    batch: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    snapshots: int = 1
    """How many points of the way are kept, evenly spaced and the last one always; the start is not one."""


class LiveView(Protocol):
    """A view at work inside the gate."""

    def relabel(self, targets: Tensor) -> Tensor:
        """The targets (n,) that T shall have; asked once, before the classes are sorted."""
        ...

    def apply(self, batch: Batch, draw: Draw | None) -> Batch:
        """The raw batch as it shall be seen, for the network at hand (None when only counted)."""
        ...


class View(Part, kind="view"):
    """A change of T that happens inside the gate: a trigger, an attack, a corruption."""

    itemwise: ClassVar[bool] = True
    """Each item is changed by itself; a view that mixes items cannot pass a private gate."""

    @abstractmethod
    def build(self, store: Store, rng: Streams) -> LiveView: ...


class Source:
    """T as a gate holds it: in memory, under the recipe's views, sorted by the classes that they give."""

    def __init__(self, store: Store, views: Sequence[View], rng: Streams, device: torch.device) -> None:
        self.views = [view.build(store, rng) for view in views]
        targets = store.targets
        for view in self.views:
            targets = view.relabel(targets)
        self.store = store if torch.equal(targets, store.targets) else store.relabelled(targets)
        self.device = device
        self.preprocess: Callable[[Tensor], Tensor] = lambda x: x
        """Applied to whatever leaves the gate; set by the run once it is fitted."""
        self._chunk: dict[tuple[int, int], int] = {}

    def chunk(self, draw: Draw, shape: tuple[int, ...], max_bytes: int = CHUNK_BYTES) -> int:
        """Items of ``shape`` whose largest activation fits ``max_bytes``; no bound where items see each other."""
        if not draw.network.per_sample:
            return sys.maxsize
        key = id(draw.network), max_bytes
        if key not in self._chunk:
            self._chunk[key] = items_a_chunk(draw, shape, max_bytes)
        return self._chunk[key]

    def take(self, rows: Tensor, draw: Draw | None, group: Group) -> Batch:
        """The items at ``rows`` (n,) under the views, preprocessed, and under the augmentation of ``group``."""
        batch = self.raw(self.store.take(rows), draw)
        return Batch(group.seen(self.preprocess(batch.inputs)), batch.targets, batch.index)

    def raw(self, batch: Batch, draw: Draw | None) -> Batch:
        """``batch`` under the views, not preprocessed."""
        batch = Batch(batch.inputs.to(self.device), batch.targets.to(self.device), batch.index)
        for live in self.views:
            batch = live.apply(batch, draw)
        return batch


def disjoint(groups: Sequence[Group]) -> None:
    """Raises ValueError where an item could stand in two of the groups of one request."""
    named = [c for group in groups for c in group.classes or ()]
    whole = any(group.classes is None for group in groups)
    if len(named) != len(set(named)) or (whole and len(groups) > 1):
        raise ValueError("The groups of one request must be disjoint: a class may stand in one of them only.")


class Gate(ABC):
    """A gate at work, before its ``source``."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        """The mean loss gradient of each group, detached, at ``draw.params``."""

    @abstractmethod
    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        """The mean feature (d,) of each group; never an item's."""

    def bounded(self, features: Tensor) -> Tensor:
        """Features (n, d) as this gate counts them in a mean: S's go through it too. Unchanged unless it clips."""
        return features

    def statistics(self) -> dict[str, Tensor]:
        """``mean`` and ``std`` (c,) of T's channels, before preprocessing."""
        raise NotImplementedError(f"{type(self).__name__} does not serve statistics.")

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        """Items of each group, preprocessed."""
        raise NotImplementedError(f"{type(self).__name__} does not serve examples.")

    def fit(self, draw: Draw, fit: Fit) -> list[Params]:
        """Train ``draw``'s network on T by cross-entropy, through :meth:`gradient` alone; ``fit``'s snapshots."""
        params = {name: value.detach().clone() for name, value in draw.params.items()}
        optimiser = torch.optim.SGD(params.values(), lr=fit.lr, momentum=fit.momentum, weight_decay=fit.weight_decay)
        kept = {round(fit.steps * (i + 1) / fit.snapshots) for i in range(fit.snapshots)}
        way = []
        for step in range(1, fit.steps + 1):
            here = Draw(draw.network, params, draw.buffers, age=draw.age + step - 1)
            (gradient,) = self.gradient(here, [Group(size=fit.batch)], cross_entropy)
            for name, value in params.items():
                value.grad = gradient[name]
            optimiser.step()
            if step in kept:
                way.append({name: value.detach().clone() for name, value in params.items()})
        return way

    V = TypeVar("V")

    def find(self, view: type[V]) -> V:
        """The live view of class ``view``. Raises LookupError where the recipe has none."""
        for live in self.source.views:
            if isinstance(live, view):
                return live
        raise LookupError(f"No view of class {view.__name__} stands in this gate.")

    def facts(self) -> dict[str, Any]:
        """What this gate certifies of all that has left it; it stands on the artefact's card."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the gate must remember across a stop (a ledger); nothing by default."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Take back what :meth:`state_dict` gave."""


class GatePlan(Part, kind="gate"):
    """Which gate stands before T."""

    guards: ClassVar[bool] = False
    """It bounds what may be learned of T: what looks at T past it (baselines, a validation split) is off by default."""

    instead: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What helps a recipe that asks a disclosure which this gate does not serve."""

    @property
    @abstractmethod
    def serves(self) -> frozenset[str]:
        """The disclosures it answers."""

    def check(self, views: Sequence[View], network: Network, card: DataCard) -> None:
        """Raises RecipeRefused where the recipe's views, network or data do not suit this gate."""

    @abstractmethod
    def build(self, source: Source, rng: Streams) -> Gate: ...


@dataclass(frozen=True)
class Open(GatePlan):
    """No guard: every disclosure is answered exactly.

    T's side of a step is computed in chunks whose largest activation is at most ``max_bytes``; for
    networks whose items do not see each other this changes nothing but the time and the memory.
    """

    max_bytes: int = CHUNK_BYTES

    @property
    def serves(self) -> frozenset[str]:
        return frozenset(DISCLOSURES)

    def build(self, source: Source, rng: Streams) -> OpenGate:
        return OpenGate(source, rng, self.max_bytes)


class OpenGate(Gate):
    """Answers every disclosure."""

    def __init__(self, source: Source, rng: Streams, max_bytes: int) -> None:
        super().__init__(source)
        self._rng = rng
        self._max_bytes = max_bytes

    def _seen(self, group: Group, draw: Draw | None) -> Batch:
        rows = self.source.store.draw(self._rng["real"], group.classes, group.size)
        return self.source.take(rows, draw, group)

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        disjoint(groups)
        params = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        answers = []
        for group in groups:
            batch = self._seen(group, draw)
            total: list[Tensor] = []
            for part in cut(len(batch), self.source.chunk(draw, tuple(batch.inputs.shape[1:]), self._max_bytes)):
                value = loss(draw(batch.inputs[part], params), batch.targets[part]).sum()
                gradients = torch.autograd.grad(value, list(params.values()))
                total = [a + g for a, g in zip(total, gradients, strict=True)] if total else list(gradients)
            answers.append({name: g / len(batch) for name, g in zip(params, total, strict=True)})
        return answers

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        disjoint(groups)
        if not draw.network.per_sample:
            return self._features_joint(draw, [self._seen(group, draw) for group in groups])
        sums: list[Tensor | float] = [0.0] * len(groups)
        sizes = [0] * len(groups)
        with torch.no_grad():
            for inputs, owners in self._joined(draw, groups):
                features = draw(inputs, features=True)
                for owner, part in owners:
                    sums[owner] = sums[owner] + features[part].sum(0)
                    sizes[owner] += part.stop - part.start
        return [torch.as_tensor(total) / n for total, n in zip(sums, sizes, strict=True)]

    def _features_joint(self, draw: Draw, batches: Sequence[Batch]) -> list[Tensor]:
        with torch.no_grad():
            features = draw(torch.cat([batch.inputs for batch in batches]), features=True)
        return [part.mean(0) for part in features.split([len(batch) for batch in batches])]

    def _joined(self, draw: Draw, groups: Sequence[Group]) -> Iterator[tuple[Tensor, list[tuple[int, slice]]]]:
        """Chunks of inputs, small groups together, with the slice of each group that stands in them."""
        waiting: list[tuple[int, Tensor]] = []
        room = None
        for owner, group in enumerate(groups):
            inputs = self._seen(group, draw).inputs
            size = self.source.chunk(draw, tuple(inputs.shape[1:]), self._max_bytes)
            room = size if room is None else room
            for part in cut(len(inputs), size):
                piece = inputs[part]
                if waiting and len(piece) > room:
                    yield self._together(waiting)
                    waiting, room = [], size
                waiting.append((owner, piece))
                room -= len(piece)
        if waiting:
            yield self._together(waiting)

    @staticmethod
    def _together(pieces: list[tuple[int, Tensor]]) -> tuple[Tensor, list[tuple[int, slice]]]:
        owners, start = [], 0
        for owner, piece in pieces:
            owners.append((owner, slice(start, start + len(piece))))
            start += len(piece)
        inputs = pieces[0][1] if len(pieces) == 1 else torch.cat([piece for _, piece in pieces])
        return inputs, owners

    def statistics(self) -> dict[str, Tensor]:
        total, squares, count = 0.0, 0.0, 0
        for batch in self.source.store.chunks(4096):
            x = self.source.raw(batch, None).inputs.double().flatten(2).movedim(1, 0).flatten(1)
            total, squares, count = total + x.sum(1), squares + (x * x).sum(1), count + x.shape[1]
        mean = torch.as_tensor(total) / count
        return {"mean": mean.float(), "std": (torch.as_tensor(squares) / count - mean**2).clamp_min(0).sqrt().float()}

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        disjoint(groups)
        return [self._seen(group, None) for group in groups]


@dataclass(frozen=True)
class Context:
    """What a part may use while a run is going on."""

    card: DataCard
    network: Network
    gate: Gate
    rng: Streams
    device: torch.device
    view: Callable[[], Transform]
    """Draws the recipe's augmentation, one for all items; the identity where it has none."""

    @cached_property
    def room(self) -> int:
        """Items whose largest activation fits one chunk of memory; no bound for networks whose items see each other."""
        if not self.network.per_sample:
            return sys.maxsize
        return items_a_chunk(Draw(self.network, *self.network.init(torch.Generator())), self.card.shape)

    def fresh(self) -> Draw:
        """The network at newly drawn parameters."""
        params, buffers = self.network.init(self.rng["nets"])
        return Draw(
            self.network,
            {name: value.to(self.device) for name, value in params.items()},
            {name: value.to(self.device) for name, value in buffers.items()},
        )
