"""The gate: the one door to the real data T.

Objectives, policies, carriers and preprocessing reach T through five named disclosures and nothing else,
so that a guarded gate (privacy), a view (a trigger, an attack) or a shard (a federated client) is in force
everywhere at once.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore.augment import Augment, CutMix
from ddcore.data import Store
from ddcore.errors import RecipeRefused
from ddcore.memory import CHUNK_BYTES, cut, items_a_chunk
from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.types import Batch, DataCard, Draw, Group, ItemLoss, Network, Params, Progress, Transform

DISCLOSURES = ("gradient", "features", "statistics", "fit", "examples")
"""What a part may ask of T, from the least to the most."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (n, k) and classes (n,) or shares of the classes (n, k), one number an item (n,).

    Shares of fewer classes than there are outputs leave nothing to the rest.
    """
    return F.cross_entropy(outputs, _as_wide(targets, outputs), reduction="none")


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance of outputs (n, k) from targets (n, k), summed over classes: one number an item (n,).

    Targets of fewer classes than there are outputs are 0 for the rest.
    """
    return (outputs - _as_wide(targets, outputs)).square().sum(1) / 2


def _as_wide(targets: Tensor, outputs: Tensor) -> Tensor:
    missing = outputs.shape[1] - targets.shape[1] if targets.ndim == 2 else 0
    return F.pad(targets, (0, missing)) if missing > 0 else targets


LossName = Literal["cross_entropy", "squared"]
LOSSES: Mapping[LossName, ItemLoss] = MappingProxyType({"cross_entropy": cross_entropy, "squared": squared})
"""The losses that targets may be made for."""


@dataclass(frozen=True)
class Fit(Part, kind="fit"):
    """How a network is trained on T: SGD on batches drawn without replacement, for ``steps`` or ``epochs``.

    ``rho`` above zero steps along gradients taken that far uphill, weight by weight in proportion to the weight, so
    that flat minima are found; of the gradient at the point itself, what is orthogonal to that is then subtracted
    ``gap`` times. Reference: Zhuang et al., Surrogate Gap Minimization, ICLR 2022, Algorithm 1. Each step is two
    requests. Differs: where the gate's draws are secret, the two gradients are of two batches.
    """

    steps: int | None = 200
    epochs: float | None = None
    batch: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    snapshots: int = 1
    """How many points of the way are kept, evenly spaced and the last one always; the start is not one."""
    augment: Augment | None = None
    """Drawn anew for each batch, one change for all of its items."""
    cutmix: float = 0.0
    """Probability that a batch is mixed: a box of each item comes from another, the labels in proportion."""
    rho: float = 0.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise RecipeRefused("A fit says either steps or epochs, not both and not neither.")
        if not min(self.steps or self.epochs or 0, self.batch, self.snapshots) > 0 or not 0 <= self.cutmix <= 1:
            raise RecipeRefused(f"{self}: steps, batch and snapshots must be above zero, cutmix within 0 and 1.")
        if not all(0 <= rate < math.inf for rate in (self.lr, self.momentum, self.weight_decay, self.rho, self.gap)):
            raise RecipeRefused(f"{self}: lr, momentum, weight_decay, rho and gap must be zero or more, and finite.")
        if self.gap and not self.rho:
            raise RecipeRefused("A fit's gap is the share of what the step uphill leaves over: give rho with it.")

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"fit"})

    @property
    def itemwise(self) -> bool:
        return self.cutmix == 0

    def length(self, items: int) -> int:
        """Steps on ``items`` of T. Raises RecipeRefused where there are fewer than snapshots."""
        steps = self.steps if self.steps is not None else round((self.epochs or 0) * math.ceil(items / self.batch))
        if steps < self.snapshots:
            raise RecipeRefused(f"{self} takes {steps} steps on {items} items, fewer than its snapshots.")
        return steps


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

    @abstractmethod
    def build(self, store: Store, rng: Streams) -> LiveView: ...


class Source:
    """T as a gate holds it: under the recipe's views, sorted by the classes that they give."""

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
        inputs, targets = group.seen(self.preprocess(batch.inputs)), batch.targets
        if group.mixing is not None:
            inputs, targets = group.mixing(inputs, targets)
        return Batch(inputs, targets, batch.index)

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

    def __init__(self, source: Source, rng: Streams) -> None:
        self.source = source
        self.rng = rng

    def beside(self, rng: Streams) -> Gate:
        """This gate with seeded draws of its own, so that what is asked of it moves no draw of the run's.

        A gate whose draws are secret is its own twin.
        """
        return self

    @property
    def fingerprint(self) -> str | None:
        """What T looks like through this gate, as a hash; None where its answers are the run's own, not to be shared
        with others: under an account of what was told, or views, which may be drawn anew in each run."""
        return None

    @abstractmethod
    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        """The mean loss gradient of each group, detached, at ``draw.params``."""

    @abstractmethod
    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        """The mean feature (d,) of each group; never an item's."""

    def bounded(self, features: Tensor) -> Tensor:
        """Features (n, d) as this gate counts them in a mean: S's go through it too. Unchanged unless it clips."""
        return features

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        """``mean`` and ``std`` (c,) of T's channels, before preprocessing.

        With ``pixels`` ``mean`` (d,) and ``covariance`` (d, d) of the flattened items, in float64.
        """
        raise NotImplementedError(f"{type(self).__name__} does not serve statistics.")

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        """Items of each group, preprocessed."""
        raise NotImplementedError(f"{type(self).__name__} does not serve examples.")

    def fit(
        self,
        draw: Draw,
        fit: Fit,
        told: str = "fitting",
        progress: Progress | None = None,
        state: dict[str, Any] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> list[Params]:
        """Train ``draw``'s network on T by cross-entropy, through :meth:`gradient` alone; ``fit``'s snapshots.

        Where the training stands is kept in ``state``, a plain dict that is empty at first: with one that was saved
        when ``keep`` was called, along with ``draw``'s buffers, the gate and its streams, it goes on from there bit for
        bit.
        """
        state = {} if state is None else state
        if not state:
            params = {name: value.detach().clone() for name, value in draw.params.items()}
            state.update(step=0, params=params, way=[])
        params, way = state["params"], state["way"]
        optimiser = torch.optim.SGD(params.values(), lr=fit.lr, momentum=fit.momentum, weight_decay=fit.weight_decay)
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])
        steps = fit.length(len(self.source.store))
        kept = {round(steps * (i + 1) / fit.snapshots) for i in range(fit.snapshots)}
        for step in range(state["step"] + 1, steps + 1):
            here = Draw(draw.network, params, draw.buffers, age=draw.age + step - 1)
            before = self.rng.seeded() if fit.rho else {}
            gradient = self._fitting(here, fit)
            if fit.rho:
                self.rng.go_back(before)
                uphill = replace(here, params=_uphill(params, gradient, fit.rho))
                gradient = _flatter(gradient, self._fitting(uphill, fit), fit.gap)
            for name, value in params.items():
                value.grad = gradient[name]
            optimiser.step()
            if step in kept:
                way.append({name: value.detach().clone() for name, value in params.items()})
            state.update(step=step, optimiser=optimiser.state_dict())
            if progress:
                progress(told, step, steps)
            if keep:
                keep()
        return way

    def _fitting(self, draw: Draw, fit: Fit) -> Params:
        """The gradient of one batch of a fit."""
        store, rng = self.source.store, self.rng["fit"]
        shape = tuple(store.inputs.shape[1:])
        view = fit.augment.draw(rng, shape) if fit.augment else None
        mixed = fit.cutmix and float(torch.rand((), generator=rng)) < fit.cutmix
        mixing = CutMix.draw(rng, shape, store.classes) if mixed else None
        (gradient,) = self.gradient(draw, [Group(size=fit.batch, view=view, mixing=mixing)], cross_entropy)
        return gradient

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
        """Take back what :meth:`state_dict` gave, its tensors on the run's device."""

    def carried(self) -> dict[str, Any]:
        """What the next run on the same data must know of this one (what has been spent), as JSON can write it."""
        return {}

    def carry(self, before: dict[str, Any]) -> None:  # noqa: B027
        """Begin where an earlier run on the same data ended, which answered ``before`` to :meth:`carried`."""


def _norm(tensors: Params) -> Tensor:
    return torch.stack([value.square().sum() for value in tensors.values()]).sum().sqrt()


def _uphill(params: Params, gradient: Params, rho: float) -> Params:
    """w + rho w^2 g / || |w| g ||: the worst point within ``rho``, measured in units of the weights."""
    length = _norm({name: value * gradient[name] for name, value in params.items()})
    return {name: w + rho * w.square() * gradient[name] / (length + 1e-12) for name, w in params.items()}


def _flatter(here: Params, uphill: Params, gap: float) -> Params:
    """The gradient ``uphill``, less ``gap`` times that part of the gradient ``here`` which is orthogonal to it."""
    along = torch.stack([(here[name] * g).sum() for name, g in uphill.items()]).sum() / _norm(uphill).square()
    return {name: g - gap * (here[name] - along * g) for name, g in uphill.items()}


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

    def check(self, parts: Sequence[Part], network: Network, card: DataCard) -> None:
        """Raises RecipeRefused where the recipe's parts, its network or the data do not suit this gate."""

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
        super().__init__(source, rng)
        self._max_bytes = max_bytes

    def beside(self, rng: Streams) -> Gate:
        return OpenGate(self.source, rng, self._max_bytes)

    @property
    def fingerprint(self) -> str | None:
        if self.source.views:
            return None
        store = self.source.store
        probe = self.source.preprocess(store.take(torch.arange(min(8, len(store)))).inputs)
        return store.fingerprint(probe)

    def _seen(self, group: Group, draw: Draw | None) -> Batch:
        rows = self.source.store.draw(self.rng["real"], group.classes, group.size)
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

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        if pixels:
            return self._moments()
        total, squares, count = 0.0, 0.0, 0
        for batch in self.source.store.chunks():
            x = self.source.raw(batch, None).inputs.double().flatten(2).movedim(1, 0).flatten(1)
            total, squares, count = total + x.sum(1), squares + (x * x).sum(1), count + x.shape[1]
        mean = torch.as_tensor(total) / count
        return {"mean": mean.float(), "std": (torch.as_tensor(squares) / count - mean**2).clamp_min(0).sqrt().float()}

    def _moments(self) -> dict[str, Tensor]:
        total, products = 0.0, 0.0
        for batch in self.source.store.chunks():
            x = self.source.raw(batch, None).inputs.double().flatten(1)
            total, products = total + x.sum(0), products + x.T @ x
        count = len(self.source.store)
        mean = torch.as_tensor(total) / count
        return {"mean": mean, "covariance": torch.as_tensor(products) / count - mean.outer(mean)}

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
    view: Callable[..., Transform]
    """Draws the recipe's augmentation, one for all items or, of n items, one each; the identity where it has none."""
    step: Callable[[], int] = lambda: 0
    """Steps of the run that are done."""
    progress: Progress | None = None
    """Told of long work that is not a step."""
    keep: Callable[[], None] | None = None
    """Called in mid-step where all that the step has done stands in the states, so that the run may be left there."""

    @cached_property
    def room(self) -> int:
        """Items whose largest activation fits one chunk of memory; no bound for networks whose items see each other."""
        if not self.network.per_sample:
            return sys.maxsize
        return items_a_chunk(Draw(self.network, *self.network.init(torch.Generator())), self.card.shape)

    def fresh(self, rng: Streams | None = None) -> Draw:
        """The network at newly drawn parameters, from the run's streams or from others."""
        params, buffers = self.network.init((rng or self.rng)["nets"])
        return Draw(
            self.network,
            {name: value.to(self.device) for name, value in params.items()},
            {name: value.to(self.device) for name, value in buffers.items()},
        )
