"""What candidates are trained on in the place of T."""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ddcore import plugin as dd
from ddcore_nas.trial import Trial

DISTILLED = "distilled.safetensors"
"""Where a case keeps the set that it distilled."""


@dataclass(frozen=True)
class Made:
    """A proxy that candidates can be trained on."""

    training: dd.DistilledSet | dd.Preprocessed
    preprocess: dd.Fitted
    """What real items go through to be like those of ``training``."""
    content: str
    """A hash of the items and labels."""
    seconds: float
    """What it took to make it."""
    found: bool = False
    """It was made before."""

    replayed: bool = False
    """Candidates are trained on it in its own order, at its step sizes."""

    def ways(self, protocol: dd.Protocol, lengths: Sequence[int]) -> dict[int, dd.Protocol]:
        """``protocol`` for each number of steps; what is replayed has its own."""
        order = self.training.order
        if self.replayed and order is not None:
            return {len(order): replace(protocol, steps=len(order), epochs=None, replay=True)}
        return {length: replace(protocol, steps=length, epochs=None) for length in lengths}

    def trial(self, protocol: dd.Protocol, store: dd.Store, card: dd.DataCard, device: str) -> Trial:
        """Training on it, measuring on ``store``."""
        measured = dd.Preprocessed(store, self.preprocess)
        return Trial(self.training, measured, card, protocol, f"{self.content} {store.content}", device)


class Proxy(dd.Part, kind="proxy"):
    """What candidates are trained on in the place of T."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in tables and plots."""

    def check(self, data: dd.RealData, host: dd.Host) -> None:  # type: ignore[override]
        """Raises RecipeRefused where it cannot be made of ``data``; before any work."""

    @abstractmethod
    def make(self, data: dd.RealData, seed: int, folder: Path, host: dd.Host, device: str) -> Made:
        """The proxy for ``data``, made with ``seed``; ``folder`` keeps what took long."""


@dataclass(frozen=True)
class Whole(Proxy):
    """T itself: trained on for less than in full, this is early stopping."""

    preprocess: dd.Preprocess = field(default_factory=dd.Standardise)
    """Preprocessing of T."""

    @property
    def label(self) -> str:
        return "T, stopped early"

    def make(self, data: dd.RealData, seed: int, folder: Path, host: dd.Host, device: str) -> Made:
        streams = dd.Streams(0)
        gate = dd.Open().build(dd.Source(data.train, (), streams, torch.device(device)), streams)
        fitted = self.preprocess.fitted(data.card).start(data.card, gate.statistics)
        return Made(dd.Preprocessed(data.train, fitted), fitted, f"{data.train.content} {self.preprocess}", 0.0)


@dataclass(frozen=True)
class Condensed(Proxy):
    """What a method makes of T: a distilled set, or real items that it chooses."""

    method: str = "dm"
    """The method: ``ddcore list methods``."""
    ipc: dd.Count = 10
    """Images per class."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of its recipe, by dotted path."""
    replay: bool = False
    """A set that brings an order is trained on in that order, once, at its step sizes, as ``gtn`` and ``dd`` want."""
    title: str | None = None
    """Its name in tables and plots, None for one made of method and ipc."""

    @property
    def label(self) -> str:
        return self.title or f"{self.method}, {self.ipc} per class{', replayed' if self.replay else ''}"

    def recipe(self, data: dd.RealData, seed: int, host: dd.Host) -> dd.Recipe:
        overrides = {**dd.dotted(self.overrides), "seed": seed}
        return host.recipe(self.method, kind=data.card.kind, ipc=self.ipc, overrides=overrides)

    def check(self, data: dd.RealData, host: dd.Host) -> None:  # type: ignore[override]
        host.start(self.recipe(data, 0, host), data)

    def make(self, data: dd.RealData, seed: int, folder: Path, host: dd.Host, device: str) -> Made:
        path = folder / DISTILLED
        if path.exists():
            return replace(_of(dd.DistilledSet.load(path), host), found=True, replayed=self.replay)
        start = time.perf_counter()
        distilled = host.distill(self.recipe(data, seed, host), data, device=device)
        distilled = distilled.with_facts(condensing=time.perf_counter() - start)
        distilled.save(path)
        return replace(_of(distilled, host), replayed=self.replay)


@dataclass(frozen=True)
class Stored(Proxy):
    """A distilled set that was made before, the same with each seed."""

    path: dd.FilePath
    """Its file."""

    @property
    def label(self) -> str:
        return Path(self.path).stem

    def check(self, data: dd.RealData, host: dd.Host) -> None:  # type: ignore[override]
        made = dd.DistilledSet.load(self.path)
        if (made.data.shape, made.data.outputs) != (data.card.shape, data.card.outputs):
            raise dd.RecipeRefused(
                f"{self.path} was made for {made.data.name}, {made.data.outputs} classes of {made.data.shape}; those of"
                f" {data.card.name} are {data.card.outputs} of {data.card.shape}. Name the data that it was made for."
            )

    def make(self, data: dd.RealData, seed: int, folder: Path, host: dd.Host, device: str) -> Made:
        return replace(_of(dd.DistilledSet.load(self.path), host), found=True)


def _of(distilled: dd.DistilledSet, host: dd.Host) -> Made:
    facts = distilled.facts
    seconds = float(facts.get("condensing", facts.get("seconds", 0.0)))
    return Made(distilled, dd.preprocess_of(distilled, host.catalogue), _hash(distilled), seconds)


def _hash(distilled: dd.DistilledSet) -> str:
    digest = hashlib.sha256(f"{distilled.loss} {distilled.momentum}".encode())
    for name, value in sorted(distilled.tensors.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
