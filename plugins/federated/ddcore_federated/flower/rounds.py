"""The rounds of a federation, kept whole on disk after each, so that a killed one goes on at its last."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from flwr.app import ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from flwr.serverapp.strategy.fedopt import FedOpt
from torch import Tensor

from ddcore import plugin as dd
from ddcore_federated.flower.engine import Metered
from ddcore_federated.flower.records import arrays_of, params_of
from ddcore_federated.flower.strategy import SyntheticUnion
from ddcore_federated.flower.wrapped import Refined, Sampled
from ddcore_federated.payload import packed
from ddcore_federated.shared import Shared

Score = Callable[[dd.Params], dict[str, float]]
"""What is measured of global weights."""


def go(
    strategy: Strategy,
    grid: Grid,
    start: dd.Params,
    rounds: int,
    place: Path,
    score: Score,
    *,
    timeout: float = 3600.0,
    progress: dd.Progress | None = None,
) -> list[dict[str, Any]]:
    """What there is to say of each of ``rounds``, the first entry of the weights ``start``; goes on from ``place``.

    An entry has the scores, ``up`` and ``down`` (bytes so far), ``seconds`` (of this round), ``refused`` (why replies
    were left out, in sentences), ``failed`` (why the weights stayed as they were, if they did), and where the strategy
    says so the ``sets`` that came, their ``images``, ``epsilon`` and ``warnings``. What a strategy remembers from round
    to round is kept for those of ddcore and for Flower's adaptive ones (FedAdam, FedYogi, FedAdagrad).

    Raises:
        BadCheckpoint: the file at ``place`` is damaged.
        RecipeRefused: there was no client in the first round that could take part.
    """
    weights, told = _kept(strategy, place, start)
    if not told:
        told.append({"round": 0, "up": 0, "down": 0, "seconds": 0.0, **score(start)})
    meter = Metered(grid, progress)
    for number in range(len(told), rounds + 1):
        begun = time.perf_counter()
        config = ConfigRecord({"rounds": rounds})
        asked = strategy.configure_train(number, arrays_of(weights), config, meter)
        replies = list(meter.send_and_receive(asked, timeout=timeout))
        found, metrics = strategy.aggregate_train(number, replies)
        failed = getattr(strategy, "failed", None)
        if found is not None:
            try:
                weights = params_of(found, start)
            except dd.RecipeRefused as why:
                failed = f"The weights before are kept: {why}"
        entry = {"round": number, "up": told[-1]["up"] + meter.up, "down": told[-1]["down"] + meter.down}
        meter.up = meter.down = 0
        own = {name: value for name, value in (metrics or {}).items() if name in ("sets", "images", "epsilon")}
        if own.get("epsilon") == math.inf:
            own["epsilon"] = "infinite"  # JSON has none
        refused = getattr(strategy, "refused", None)
        if refused is None:
            refused = [f"A client is left out: {r.error.reason}"[:500] for r in replies if r.has_error()]
        own["refused"] = refused
        if warned := getattr(strategy, "warned", None):
            own["warnings"] = warned
        if failed:
            own["failed"] = failed
        if number == 1 and found is None and refused:
            raise dd.RecipeRefused(f"In the first round no client could take part. {refused[0]}")
        told.append({**entry, **own, "seconds": time.perf_counter() - begun, **score(weights)})
        _keep(strategy, place, weights, told)
        if progress:
            progress("rounds", number, rounds)
    return told


def _keep(strategy: Strategy, place: Path, weights: dd.Params, told: list[dict[str, Any]]) -> None:
    state, said = state_of(strategy)
    tensors = {f"weights.{name}": value for name, value in weights.items()}
    tensors |= {f"strategy.{name}": value for name, value in state.items()}
    card = {"rounds": json.dumps(told), "said": json.dumps(said)}
    dd.write_tensors(place, tensors, card)


def told_so_far(place: Path) -> list[dict[str, Any]]:
    """What there is to say of the rounds that are kept at ``place``, none where there is no file."""
    return _read(place)[1] if place.exists() else []


def _kept(strategy: Strategy, place: Path, start: dd.Params) -> tuple[dd.Params, list[dict[str, Any]]]:
    """The weights of the last round and what there is to say; the strategy remembers what it did then."""
    if not place.exists():
        return start, []
    tensors, told, said = _read(place)
    restore(strategy, below(tensors, "strategy."), said)
    return params_of(arrays_of(below(tensors, "weights.")), start), told


def _read(place: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]], dict[str, Any]]:
    tensors, card = dd.read_tensors(place, dd.BadCheckpoint, "Delete it.")
    try:
        return tensors, json.loads(card["rounds"]), json.loads(card["said"])
    except (KeyError, ValueError) as error:
        raise dd.BadCheckpoint(f"{place} is not a whole record of rounds ({error}): delete it.") from error


def central(network: dd.Network, test: dd.Preprocessed, histogram: Tensor) -> Score:
    """Accuracy on ``test`` in percent, and the ``worst`` client's: of test items mixed as its own classes are.

    ``histogram`` (clients, k): the items of each class that each client has.
    """
    shares = histogram / histogram.sum(1, keepdim=True)

    def score(params: dd.Params) -> dict[str, float]:
        right, there = torch.zeros(shares.shape[1]), torch.zeros(shares.shape[1])
        with torch.no_grad():
            for rows in torch.arange(len(test)).split(500):
                inputs, targets = test.take(rows)
                hit = network(params, {}, inputs, training=False).argmax(1) == targets
                right += targets[hit].bincount(minlength=len(right))
                there += targets.bincount(minlength=len(there))
        each = shares @ (right / there.clamp_min(1))
        return {"accuracy": 100 * float(right.sum() / there.sum()), "worst": 100 * float(each.min())}

    return score


def state_of(strategy: Strategy) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``strategy`` remembers from round to round: tensors, and what is said of the set among them."""
    if isinstance(strategy, Sampled):
        return state_of(strategy.inner)
    if isinstance(strategy, FedOpt):
        moments = {"m_t": strategy.m_t or {}, "v_t": strategy.v_t or {}}
        return {f"{m}.{name}": torch.from_numpy(v) for m, held in moments.items() for name, v in held.items()}, {}
    tensors: dict[str, Tensor] = {}
    sets: dict[str, Shared] = {}
    if isinstance(strategy, SyntheticUnion):
        sets = {f"past.{t}.{i}": shared for t, before in enumerate(strategy.past) for i, shared in enumerate(before)}
    if isinstance(strategy, Refined):
        tensors |= {f"inner.{name}": value for name, value in state_of(strategy.inner)[0].items()}
        for t, point in enumerate(strategy.trajectory):
            tensors |= {f"trajectory.{t}.{name}": value for name, value in point.items()}
        sets = {} if strategy.sets is None else {"set": strategy.sets}
    said = {}
    for name, shared in sets.items():
        arrays, said[name] = packed(shared, "float32")
        tensors |= {f"{name}.{part}": torch.from_numpy(array) for part, array in arrays.items()}
    return tensors, said


def restore(strategy: Strategy, tensors: dict[str, Tensor], said: dict[str, Any]) -> None:
    """Let ``strategy`` remember what :func:`state_of` told."""
    if isinstance(strategy, Sampled):
        restore(strategy.inner, tensors, said)
    if isinstance(strategy, FedOpt) and tensors:
        strategy.m_t, strategy.v_t = (
            {name: value.numpy() for name, value in below(tensors, f"{moment}.").items()} for moment in ("m_t", "v_t")
        )
    if isinstance(strategy, Refined):
        restore(strategy.inner, below(tensors, "inner."), {})
        way = below(tensors, "trajectory.")
        points = sorted({int(name.split(".")[0]) for name in way})
        strategy.trajectory = [below(way, f"{t}.") for t in points]
        strategy.sets = _remembered("set", tensors, said) if said else None
    if isinstance(strategy, SyntheticUnion):
        rounds: dict[str, list[Shared]] = {}
        for name in said:
            rounds.setdefault(name.rpartition(".")[0], []).append(_remembered(name, tensors, said))
        strategy.past = list(rounds.values())


def _remembered(name: str, tensors: dict[str, Tensor], said: dict[str, Any]) -> Shared:
    """The set that :func:`state_of` told under ``name``."""
    found = below(tensors, f"{name}.")
    for whole in ("targets", "order"):
        if whole in found and not found[whole].is_floating_point():
            found[whole] = found[whole].long()
    told = dict(said[name])
    items, preprocess, warnings = told.pop("items"), told.pop("preprocess", None) or None, told.pop("warnings", ())
    return Shared(dd.LabelledTensors.from_state(found, **told), items, preprocess, tuple(warnings))


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those of ``tensors`` whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
