"""The gate: the one door to the real data T.

Objectives, policies, carriers and preprocessing reach T through five named disclosures and nothing else,
so that a guarded gate (privacy), a view (a trigger, an attack) or a shard (a federated client) is in force
everywhere at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, overload

import torch
from torch import Tensor

from ddcore.augment.mixing import CutMix
from ddcore.chunking import slices
from ddcore.gate.fit import Fit, flatter, uphill
from ddcore.gate.source import Source
from ddcore.gate.spent import Spent
from ddcore.gate.view import LiveView, View
from ddcore.losses import LOSSES, error_norm
from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.types import Batch, Draw, Group, ItemLoss, Params, Progress

L = TypeVar("L", bound=LiveView)

DISCLOSURES = ("gradient", "features", "statistics", "fit", "examples")
"""What a part may ask of T, from the least to the most."""


def disjoint(groups: Sequence[Group]) -> None:
    """Raises ValueError where an item could stand in two of the groups of one request."""
    named = [c for group in groups for c in group.classes or ()]
    whole = any(group.classes is None for group in groups)
    if len(named) != len(set(named)) or (whole and len(groups) > 1):
        raise ValueError("The groups of one request must be disjoint: a class may stand in one of them only.")


class Gate(ABC):
    """A gate at work, before its ``source``.

    Shapes: n items, d features, c channels. Each disclosure raises ValueError where the groups of a request are not
    disjoint, RecipeRefused where they cannot be served, and StopRun where they would exceed what may be told.
    """

    def __init__(self, source: Source, rng: Streams) -> None:
        self.source = source
        self.rng = rng

    def with_streams(self, rng: Streams) -> Gate:
        """This gate with seeded draws of its own, so that what is asked of it moves no draw of the run's.

        A gate whose draws are secret is its own twin.
        """
        return self

    @property
    def unwrapped(self) -> Gate:
        """The gate itself, where others stand round it."""
        return self

    @property
    def fingerprint(self) -> str | None:
        """What T looks like through this gate, as a hash; None where its answers are the run's own, not to be shared
        with others: under an account of what was told, or views, which may be drawn anew in each run."""
        return None

    @abstractmethod
    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        """The mean over the items of each group of their loss gradients at ``draw.params``, by parameter; detached.

        ``loss`` takes outputs (n, k) and targets (n,) or (n, k), and gives one number per item (n,).
        """

    @abstractmethod
    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        """The mean feature (d,) of each group, detached; never that of one item."""

    def clip_features(self, features: Tensor) -> Tensor:
        """Features (n, d) as this gate counts them in a mean: S's go through it too. Unchanged unless it clips."""
        return features

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        """``mean`` and ``std`` (c,) of T's channels, or of the features of vectors, before preprocessing.

        With ``pixels`` ``mean`` (d,) and ``covariance`` (d, d) of the flattened items of d numbers, in float64.
        """
        raise NotImplementedError(f"{type(self).__name__} does not serve statistics.")

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        """Items of each group, preprocessed: inputs (n, ...) and targets (n,)."""
        raise NotImplementedError(f"{type(self).__name__} does not serve examples.")

    def fit(
        self,
        draw: Draw,
        fit: Fit,
        stage: str = "fitting",
        progress: Progress | None = None,
        state: dict[str, Any] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> list[Params]:
        """Train ``draw``'s network on T by its targets' loss, through :meth:`gradient` alone; ``fit``'s snapshots.

        ``progress`` is called with ``stage`` after each step. Where the training stands is kept in ``state``, a plain
        dict that is empty at first: with one that was saved when ``keep`` was called, along with ``draw``'s buffers,
        the gate and its streams, it goes on from there bit for bit.
        """
        state = {} if state is None else state
        if not state:
            params = {name: value.detach().clone() for name, value in draw.params.items()}
            state.update(step=0, params=params, way=[])
            if fit.curriculum:
                state["easier"] = self._easier(draw, fit, fit.curriculum.scored)
        params, way = state["params"], state["way"]
        optimiser = fit.optimiser.build((params.values(), fit.lr))
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])
        steps = fit.length(len(self.source.store))
        kept = {round(steps * (i + 1) / fit.snapshots) for i in range(fit.snapshots)}
        for step in range(state["step"] + 1, steps + 1):
            here = Draw(draw.network, params, draw.buffers, age=draw.age + step - 1)
            before = self.rng.seeded() if fit.rho else {}
            among = fit.curriculum.admitted(state["easier"], (step - 1) / steps) if fit.curriculum else None
            gradient = self._fitting(here, fit, among)
            if fit.rho:
                self.rng.go_back(before)
                worst = replace(here, params=uphill(params, gradient, fit.rho))
                gradient = flatter(gradient, self._fitting(worst, fit, among), fit.gap)
            for name, value in params.items():
                value.grad = gradient[name]
            fit.schedule.apply(optimiser, step - 1, steps)
            optimiser.step()
            if step in kept:
                way.append({name: value.detach().clone() for name, value in params.items()})
            state.update(step=step, optimiser=optimiser.state_dict())
            if progress:
                progress(stage, step, steps)
            if keep:
                keep()
        return way

    def _easier(self, draw: Draw, fit: Fit, scored: int) -> Tensor:
        """For each item of T (n,) the share of its class that is easier for a network trained from ``draw``'s start."""
        begun = replace(draw, buffers={name: value.clone() for name, value in draw.buffers.items()})
        short = replace(fit, steps=scored, epochs=None, snapshots=1, curriculum=None)
        scorer, found = replace(begun, params=self.fit(begun, short)[0]), []
        for c, count in enumerate(self.source.store.counts):
            if count:
                (batch,) = self.examples([Group(classes=(c,))])
                parts = slices(count, self.source.chunk(scorer, tuple(batch.inputs.shape[1:])))
                with torch.no_grad():
                    logits = torch.cat([scorer(batch.inputs[p], training=False) for p in parts])
                found.append(error_norm(logits, c).argsort(stable=True).argsort().cpu() / count)
        return torch.cat(found)

    def _fitting(self, draw: Draw, fit: Fit, among: Tensor | None = None) -> Params:
        """The gradient of one batch of a fit, of the items ``among`` (n,) alone."""
        store, rng = self.source.store, self.rng["fit"]
        shape = tuple(store.inputs.shape[1:])
        view = fit.augment.draw(rng, shape) if fit.augment else None
        mixed = fit.cutmix and float(torch.rand((), generator=rng)) < fit.cutmix
        mixing = CutMix.draw(rng, shape, store.classes) if mixed else None
        group = Group(size=fit.batch, transform=view, mixing=mixing, among=among)
        (gradient,) = self.gradient(draw, [group], LOSSES[store.loss])
        return gradient

    @overload
    def find(self, view: type[L]) -> L: ...
    @overload
    def find(self, view: type[View]) -> LiveView: ...
    def find(self, view: type[LiveView] | type[View]) -> LiveView:
        """The live view of that class, or of the plan of that class.

        Raises:
            LookupError: the recipe has none; it says which it has.
        """
        for plan, live in zip(self.source.plans, self.source.views, strict=True):
            if isinstance(plan, view) or isinstance(live, view):
                return live
        there = ", ".join(str(plan) for plan in self.source.plans) or "none"
        raise LookupError(f"No view of class {view.__name__} stands in this gate; its views: {there}.")

    def spent(self) -> Spent | None:
        """What its answers have cost so far; None where it keeps no account."""
        return None

    def facts(self) -> dict[str, Any]:
        """What this gate certifies of all that has left it; it stands on the artefact's card."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the gate must remember across a stop (a ledger); nothing by default."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, its tensors on the run's device."""
        if state:
            raise ValueError(f"{type(self).__name__} remembers nothing, and is to take back {sorted(state)}")

    def ledger(self) -> dict[str, Any]:
        """What the next run on the same data must know of this one (what has been spent), as JSON can write it."""
        return {}

    def load_ledger(self, before: dict[str, Any]) -> None:
        """Begin where an earlier run on the same data ended, whose :meth:`ledger` was ``before``."""


class GatePlan(Part, kind="gate"):
    """Which gate stands before T."""

    guards: ClassVar[bool] = False
    """It bounds what may be learned of one item of T.

    Then all parts of the recipe must be ``itemwise``, which is checked before the first answer; views are built without
    the items; and what looks at T past the gate (baselines, a validation split) is off by default.
    """

    instead: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What helps a recipe that asks a disclosure which this gate does not serve."""

    @property
    @abstractmethod
    def serves(self) -> frozenset[str]:
        """The disclosures it answers."""

    def for_rounds(self, rounds: int) -> Self:
        """This gate for one of ``rounds`` runs on the same data, which share what may be told: the ledger of each is
        loaded into the next. Unchanged where nothing is rationed."""
        return self

    @abstractmethod
    def build(self, source: Source, rng: Streams) -> Gate: ...

    def live(self, store: Store, views: Sequence[View], rng: Streams, device: torch.device) -> Gate:
        """The gate at work before ``store`` under ``views``, which draw from ``rng`` as it does.

        The secret streams of one that guards begin here, so that a checkpoint made before its first answer knows them.
        """
        if self.guards:
            rng.renew_secrets()
        return self.build(Source(store, views, rng, device, self.guards), rng)
