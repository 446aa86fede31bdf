"""The study: search on a proxy, and what the architecture that it finds is worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ddcore import plugin as dd
from ddcore_nas.grid import ConvNets
from ddcore_nas.problem import parted
from ddcore_nas.proxy import Condensed, Proxy, Whole
from ddcore_nas.space import Candidate, Space
from ddcore_nas.strategies import Evolution, Halving, Strategy
from ddcore_nas.trial import Kept, Result


def _usual() -> tuple[Proxy, ...]:
    return Whole(), Condensed("random")


@dataclass(frozen=True)
class Search(dd.Study):
    """Each strategy on each proxy: the architecture that is best on validation, and what it reaches trained in full.

    The best is the first among those that were trained for the longest. Reported are its accuracy on the proxy and, on
    test, after full training, and the seconds of condensing, searching and full training. Optuna chooses what is tried.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"proxies", "strategies", "seeds"})
    several: ClassVar[tuple[str, ...]] = ("proxies", "strategies", "seeds")

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that an architecture is searched for."""
    items: dd.Count | None = None
    """Items of T, drawn class by class; None for all."""
    validation: dd.OpenShare = 0.2
    """Share of T that candidates are judged on during the search; nothing is trained on it."""
    space: Space = field(default_factory=lambda: ConvNets(widths=(8, 16, 32)))
    """The architectures; ``subsample`` does not matter here."""
    proxies: tuple[Proxy, ...] = field(default_factory=_usual)
    """What they are trained on during the search."""
    strategies: tuple[Strategy, ...] = (Halving(), Evolution())
    """How the space is searched."""
    training: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None))
    """How candidates are trained during the search, apart from its length, networks and repeats."""
    full: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None))
    """How the architecture that is found is trained in full on T, apart from its networks and repeats."""
    seeds: tuple[dd.Whole, ...] = (0,)
    """Seeds: with each, a proxy, a search and a full training."""

    def cases(self, host: dd.Host) -> list[dd.Case]:
        data = parted(self.data, self.items, self.validation)
        for strategy in self.strategies:
            strategy.pruner()
        for proxy in self.proxies:
            proxy.check(data, host)
        names = dd.labels(self.strategies)
        return [
            dd.Case(f"{name} on {proxy.label}", seed, {"proxy": proxy, "strategy": strategy})
            for seed in self.seeds
            for proxy in self.proxies
            for name, strategy in zip(names, self.strategies, strict=True)
        ]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        data, seed = parted(self.data, self.items, self.validation), case.seed or 0
        proxy, strategy, kept = case.description["proxy"], case.description["strategy"], Kept(folder / "trainings")
        made = proxy.make(data, seed, folder, host, device)
        assert data.validation is not None
        validation = data.validation
        tried: dict[str, dict[int, Result]] = {}

        def trained(candidate: Candidate, length: int) -> Result:
            of = tried.setdefault(candidate.name, {})
            if length not in of:
                (protocol,) = made.ways(self.training, [length]).values()
                found = made.trial(protocol, validation, data.card, device).run([candidate], [seed], kept)
                of[length] = found[candidate.name, seed]
            return of[length]

        candidates: dict[str, Candidate] = {}

        def objective(trial: optuna.Trial) -> float:
            options = self.space.decisions()
            chosen = {name: trial.suggest_categorical(name, each) for name, each in options.items()}
            candidate = self.space.candidate(chosen)
            candidates[candidate.name] = candidate
            accuracy = 0.0
            for rung, length in enumerate(strategy.lengths, 1):
                accuracy = trained(candidate, length).accuracy
                trial.report(accuracy, rung)
                if rung < len(strategy.lengths) and trial.should_prune():
                    raise optuna.TrialPruned
            if progress:
                progress("searching", trial.number + 1, strategy.trials)
            return accuracy

        start = time.perf_counter()
        study = optuna.create_study(direction="maximize", sampler=strategy.sampler(seed), pruner=strategy.pruner())
        study.optimize(objective, n_trials=strategy.trials)
        results = [result for lengths in tried.values() for result in lengths.values()]
        searching = sum(result.training + result.measuring for result in results)
        best = candidates[max(tried, key=lambda name: max((steps, r.accuracy) for steps, r in tried[name].items()))]
        whole = Whole().make(data, seed, folder, host, device)
        full = whole.trial(self.full, data.test, data.card, device).run([best], [seed], kept)
        return {
            "architecture": best.name,
            "proxy": max(tried[best.name].items())[1].accuracy,
            "full": asdict(full[best.name, seed]),
            "condensing": made.seconds,
            "searching": searching,
            "wall": time.perf_counter() - start,
            "architectures": len(tried),
            "failed": {name: r.failed for name, of in tried.items() for r in of.values() if r.failed},
        }

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        told = []
        for alike in dd.over_seeds(found):
            numbers = [one.numbers for one in alike]
            told.append(
                {
                    "search": alike[0].case.label,
                    "accuracy": dd.spread([one["full"]["accuracy"] for one in numbers]),
                    "proxy": dd.spread([one["proxy"] for one in numbers]),
                    **{
                        part: sum(one[part] for one in numbers) / len(numbers)
                        for part in ("condensing", "searching", "architectures")
                    },
                    "found": [one["architecture"] for one in numbers],
                    "failed": {name: why for one in numbers for name, why in one["failed"].items()},
                }
            )
        head = ["search", "accuracy", "on the proxy", "s condensing", "s searching", "architectures", "found"]
        rows = [
            [
                t["search"],
                *(dd.plus_minus(**t[name]) for name in ("accuracy", "proxy")),
                *(f"{t[name]:.1f}" for name in ("condensing", "searching")),
                f"{t['architectures']:.0f}",
                ", ".join(dict.fromkeys(t["found"])),
            ]
            for t in told
        ]
        says = (
            f"Accuracy on test in percent of the architecture that was found, trained in full, ±"
            f" over {len(self.seeds)} seeds; on the proxy it was measured on validation."
        )
        if failed := {name: why for t in told for name, why in t["failed"].items()}:
            (name, why), *_ = failed.items()
            says += f" Failed and ranked last: {len(failed)}, such as {name} ({why.rstrip('.')})."
        return dd.Finding(head, rows, {"searches": told}, says)
