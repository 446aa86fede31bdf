"""Choosing how a method is run, on the nodes to choose on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ddcore
from ddcore import plugin as dd


@dataclass(frozen=True)
class Tried:
    """A condensed graph, how it was made, and what it is worth on the nodes to choose on."""

    distilled: ddcore.DistilledSet
    rate: float | None
    """Learning rate of the features; None where nothing is learned."""
    iterations: int
    validation: float
    """Mean accuracy in percent of the protocol's first network."""
    seconds: float
    """Of condensing alone."""


def tries(
    method: str,
    data: dd.RealData,
    protocol: dd.Protocol,
    host: dd.Host,
    *,
    overrides: Mapping[str, Any],
    rates: Sequence[float],
    looks: int,
    seed: int,
    device: str = "cpu",
    progress: dd.Progress | None = None,
) -> Iterator[Tried]:
    """What ``method`` makes at each of the ``rates``, seen ``looks`` times along its way."""
    plain = replace(host.recipe(method, kind=data.card.kind, overrides=overrides), seed=seed)
    learns = plain.objective is not None
    for rate in rates if learns else (None,):
        recipe = plain if rate is None else replace(plain, update=_at(plain.update, rate))
        run = host.start(recipe, data, device=device, progress=progress)
        for look in range(looks) if learns else (0,):
            began = time.perf_counter()
            until = round(recipe.iterations * (look + 1) / looks) if learns else 0
            try:
                run.run_until(until)
            except ddcore.LossDiverged:
                break
            spent = time.perf_counter() - began
            distilled = run.export()
            scores = ddcore.evaluate(distilled, data, protocol, split="validation", seed=seed, host=host, device=device)
            (score, *_) = scores[protocol.choosing].values()
            yield Tried(distilled, rate, until, score.mean, spent)


def _at(update: dd.Update, rate: float) -> dd.Update:
    return replace(update, lr={**update.lr, "inputs": rate})
