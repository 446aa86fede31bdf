"""The study: how well proxies rank architectures, and what that costs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ddcore import plugin as dd
from ddcore_nas.grid import ConvNets
from ddcore_nas.problem import parted
from ddcore_nas.proxy import Condensed, Proxy, Whole
from ddcore_nas.space import Space
from ddcore_nas.standing import Standing, Truth
from ddcore_nas.summary import finding
from ddcore_nas.trial import Kept, Result, outlined

TRAININGS = "trainings"
"""The folder of a case that keeps what was trained, where the study names no other."""


def _usual() -> tuple[Proxy, ...]:
    chosen = (Condensed(method) for method in ("random", "herding", "el2n"))
    return (Whole(), *chosen, Condensed("dm", overrides={"iterations": 100, "objective": {"real": 64}}))


@dataclass(frozen=True)
class Ranking(dd.Study):
    """Architectures ranked by what they reach on proxies, held against what they reach after full training.

    Each candidate is trained on each proxy, T stopped early among them, for each of ``lengths``, and measured on a
    validation split of T; after training on T in full it is measured on the test split. Reported are rank correlations
    over all candidates and over the truly best 5, 10 and 20 %, the regret of choosing the first, and the seconds of
    condensing, training and measuring, with early stopping at equal total cost beside them. A candidate that fails is
    ranked last, and named.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"proxies", "seeds", "draws", "trainings"})
    several: ClassVar[tuple[str, ...]] = ("proxies", "lengths", "seeds")

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that architectures are searched for."""
    items: dd.Count | None = None
    """Items of T, drawn class by class; None for all."""
    validation: dd.OpenShare = 0.2
    """Share of T that candidates are measured on when they are ranked; nothing is trained on it."""
    space: Space = field(default_factory=lambda: ConvNets(widths=(8, 16, 32), subsample=24))
    """The architectures."""
    proxies: tuple[Proxy, ...] = field(default_factory=_usual)
    """What they are ranked by."""
    lengths: tuple[dd.Count, ...] = (8, 32, 128)
    """Steps for which they are trained on each proxy, each time along the whole schedule."""
    training: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None))
    """How they are trained on proxies, apart from its length, networks and repeats."""
    full: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None))
    """How they are trained in full on T, apart from its networks and repeats."""
    seeds: tuple[dd.Whole, ...] = (0,)
    """Seeds: with each a proxy is made, and one network of each candidate trained on it and one in full."""
    draws: dd.Count = 500
    """Draws of each bootstrap."""
    trainings: str | None = None
    """A folder that keeps what was trained, by content, for this and other studies; None for the study's own."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        for name in ("lengths", "seeds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                yield f"{name} = {list(getattr(self, name))}: name each once"
        if len({proxy.label for proxy in self.proxies}) < len(self.proxies):
            yield "two proxies have the same name: give them titles"
        for name in ("training", "full"):
            if len(getattr(self, name).lr) > 1:
                yield f"{name}.lr holds several rates: give one, with which all candidates are trained"

    def cases(self, host: dd.Host) -> list[dd.Case]:
        """One for each proxy and seed, and one, of all seeds, for the candidates of each outline in full."""
        data = parted(self.data, self.items, self.validation)
        for protocol in (self.training, self.full):
            protocol.check(data, host.catalogue)
        for proxy in self.proxies:
            proxy.check(data, host)
        known, lots = self.space.known(), {}
        for candidate in self.space.candidates():
            if candidate.name not in known:
                lots.setdefault(outlined(candidate, data.card) or candidate.name, []).append(candidate.name)
        proxies = [dd.Case(proxy.label, seed, {"proxy": proxy}) for seed in self.seeds for proxy in self.proxies]
        full = [dd.Case(_called(lot), None, {"full": lot, "seeds": self.seeds}) for lot in reversed(lots.values())]
        return [*proxies, *full]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        """What became of each candidate, by length (``full`` for full training) and seed, and the seconds."""
        start, kept = time.perf_counter(), Kept(Path(self.trainings) if self.trainings else folder / TRAININGS)
        data = parted(self.data, self.items, self.validation)
        before, candidates = {*kept.results}, self.space.candidates()
        if names := case.description.get("full"):
            made, seeds = Whole().make(data, 0, folder, host, device), case.description["seeds"]
            trials = {"full": made.trial(self.full, data.test, data.card, device)}
            candidates = [candidate for candidate in candidates if candidate.name in names]
        else:
            seeds = [case.seed or 0]
            made = case.description["proxy"].make(data, seeds[0], folder, host, device)
            assert data.validation is not None
            trials = {
                str(length): made.trial(protocol, data.validation, data.card, device)
                for length, protocol in made.ways(self.training, self.lengths).items()
            }
        reused = made.seconds if made.found else 0.0
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name, trial in trials.items():
            results = trial.run(candidates, seeds, kept, progress)
            found[name] = {str(seed): [asdict(results[c.name, seed]) for c in candidates] for seed in seeds}
            keys = {(c.name, seed): trial.key(c, seed) for c in candidates for seed in seeds}
            reused += sum(_seconds(result) for net, result in results.items() if keys[net] in before)
        return {
            "candidates": [candidate.name for candidate in candidates],
            "bytes": made.training.nbytes,
            "condensing": made.seconds,
            "found": found,
            "wall": time.perf_counter() - start + reused,
        }

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        names = [candidate.name for candidate in self.space.candidates()]
        truth = self._truth(found, names)
        standings = []
        for alike in dd.over_seeds(one for one in found if "proxy" in one.case.description):
            proxy, numbers = alike[0].case.description["proxy"], [one.numbers for one in alike]
            seeds = [str(one.case.seed) for one in alike]
            for length in numbers[0]["found"]:
                results = [one["found"][length][seed] for one, seed in zip(numbers, seeds, strict=True)]
                standings.append(
                    Standing(
                        proxy.label,
                        int(length),
                        numbers[0]["bytes"],
                        float(np.mean([one["condensing"] for one in numbers])),
                        results,
                        early=isinstance(proxy, Whole),
                    )
                )
        return finding(truth, standings, [one.numbers for one in found], self.draws)

    def _truth(self, found: Sequence[dd.Found], names: Sequence[str]) -> Truth:
        known = self.space.known()
        accuracies = np.array([[known.get(name, math.nan) for name in names]] * len(self.seeds))
        failed, seconds = {}, 0.0
        for one in found:
            for seed, results in one.numbers["found"].get("full", {}).items():
                for name, result in zip(one.numbers["candidates"], results, strict=True):
                    accuracies[self.seeds.index(int(seed)), names.index(name)] = result["accuracy"]
                    seconds += result["training"] + result["measuring"]
                    if result["failed"]:
                        failed[name] = result["failed"]
        return Truth(names, accuracies, failed, seconds / len(self.seeds))


def _seconds(result: Result) -> float:
    return result.training + result.measuring


def _called(lot: Sequence[str]) -> str:
    return f"in full, {lot[0]}{f' and {len(lot) - 1} more' if len(lot) > 1 else ''}"
