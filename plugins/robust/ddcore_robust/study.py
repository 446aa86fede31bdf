"""The study: sets under attack, after standard and after adversarial training."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch

from ddcore import plugin as dd
from ddcore_robust.attacks import Fgsm, Pgd, Unmoved
from ddcore_robust.autoattack import AutoAttack
from ddcore_robust.balls import L2, Linf
from ddcore_robust.finding import WHOLE, Way, finding
from ddcore_robust.measures import RobustAccuracy, TransferAccuracy
from ddcore_robust.sanity import BEARD
from ddcore_robust.training import Against

DISTILLED = "distilled.safetensors"


@dataclass(frozen=True)
class Robustness(dd.Study):
    """Each set with each seed: networks trained on it as usual and adversarially, and what attacks leave of them.

    It reports accuracies under FGSM, PGD-20, PGD-100, a transferred attack and AutoAttack within one ball; accuracy
    against epsilon; the two scores of BEARD; the seconds of distilling and of training; and in words what speaks
    against the numbers.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"sets", "seeds"})
    several: ClassVar[tuple[str, ...]] = ("sets", "ways", "seeds")

    data: dd.DataSet = field(default_factory=dd.Digits)
    """What is distilled and attacked."""
    sets: tuple[str, ...] = ("random", "dm", "tri_level", WHOLE)
    """Methods by name, and ``whole`` for T itself."""
    plain: str = "dm"
    """The set that the others are compared with."""
    ipc: dd.Count = 10
    """Images per class."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipes by dotted path, in a table for each method: ``dm = {iterations = 200}``; in that named
    ``all`` those of every method, which its own table may change."""
    protocol: dd.Protocol = field(default_factory=lambda: dd.Protocol(repeats=2))
    """How networks are trained on S: of its networks the first, at the first rate; its measures are not used."""
    whole: dd.Protocol = field(default_factory=lambda: dd.Protocol(steps=1000, batch=128, repeats=2))
    """How networks are trained on T, likewise."""
    ways: tuple[Way, ...] = ("standard", "adversarial")
    """As usual, and against PGD within the ball of ``epsilon``."""
    epsilon: dd.PositiveShare = 0.1
    """Radius of the L-infinity ball that networks are trained and judged in; methods that know of one are told it."""
    steps: dd.Count = 7
    """Steps of PGD in adversarial training. Published: 7."""
    epsilons: tuple[dd.PositiveShare, ...] = (0.05, 0.1, 0.2, 0.3)
    """Radii of L-infinity balls at which PGD-20 is measured too."""
    radii: tuple[dd.Positive, ...] = (1.0, 2.0)
    """Radii of Euclidean balls at which PGD-20 is measured too."""
    items: dd.Count = 1000
    """Items of the test split that are attacked."""
    autoattack: dd.Whole = 0
    """Those on which AutoAttack is run as well, which takes minutes for each net; 0 for none."""
    seeds: tuple[dd.Whole, ...] = (0,)
    """Seeds of distilling and training."""

    cites = (BEARD,)

    def cases(self, host: dd.Host) -> list[dd.Case]:
        recipes = {name: self._recipe(name, host) for name in self.sets if name != WHOLE}
        return [
            dd.Case(name, seed, {"recipe": recipes[name]} if name in recipes else {})
            for seed in self.seeds
            for name in self.sets
        ]

    def _recipe(self, name: str, host: dd.Host) -> dd.Recipe:
        takes = inspect.signature(host.catalogue.find("method", name).maker).parameters
        given: dict[str, Any] = {"ipc": self.ipc, **({"epsilon": self.epsilon} if "epsilon" in takes else {})}
        changes = dd.overrides_of(name, self.overrides, host)
        return host.recipe(name, kind=self.data.item_kind(), overrides=changes, **given)

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        data, measures, seed = dd.loaded(self.data), self.measures(), case.seed or 0
        recipe = case.description.get("recipe")
        plan = host.kind(data.card.kind).adapted(self.protocol if recipe else self.whole)
        protocol = replace(plan, measures=tuple(dict.fromkeys(measures.values())))
        protocol.check(data, host.catalogue)
        seconds = 0.0
        training: dd.DistilledSet | dd.Preprocessed
        if recipe is None:
            gate = dd.Open().live(data.train, (), dd.Streams(seed), torch.device("cpu"))
            preprocess = dd.Standardise().fitted(data.card).start(data.card, gate.statistics)
            training = dd.Preprocessed(data.train, preprocess)
        else:
            training = self._distilled(replace(recipe, seed=seed), data, folder, host, device, progress)
            preprocess, seconds = dd.preprocess_of(training, host.catalogue), training.facts["seconds"]
        shown = dd.Preprocessed(data.test, preprocess)
        ways = {}
        for way in self.ways:
            attack = None
            if way == "adversarial":
                generator, loss = dd.Streams(seed)["adversarial training"], dd.LOSSES[training.loss]
                attack = Against(Pgd(Linf(self.epsilon), self.steps), preprocess, loss, generator)
            given = (protocol.networks[0], training, data.card, protocol, protocol.lr[0], seed, torch.device(device))
            began = time.perf_counter()
            nets = list(dd.fresh_nets(*given, progress, attack=attack))
            _wait(nets)
            ways[way] = {"training": time.perf_counter() - began, **_judged(measures, nets, shown, progress)}
        return {"set": case.label, "epsilon": self.epsilon, "distilling": seconds, "ways": ways}

    @staticmethod
    def _distilled(
        recipe: dd.Recipe, data: dd.RealData, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dd.DistilledSet:
        """What ``recipe`` makes, or has made before a stop."""
        path = folder / DISTILLED
        if not path.exists():
            host.distill(recipe, data, device=device, progress=progress).save(path)
        return dd.DistilledSet.load(path)

    def measures(self) -> dict[str, dd.Measure]:
        """What is measured of each net, by its name in the numbers."""
        ball, surrogate = Linf(self.epsilon), replace(self.protocol, augment=None, repeats=1)

        def pgd(ball: Linf | L2, items: int = self.items, steps: int = 20) -> dd.Measure:
            return RobustAccuracy(Pgd(ball, steps), items)

        named: dict[str, dd.Measure] = {
            "accuracy": dd.Accuracy(),
            "clean": RobustAccuracy(Unmoved(), self.items),
            "fgsm": RobustAccuracy(Fgsm(ball), self.items),
            "pgd20": pgd(ball),
            "pgd100": pgd(ball, steps=100),
            "transfer": TransferAccuracy(Pgd(ball, 20), self.items, surrogate=surrogate),
            "anything": pgd(Linf(1.0)),
        }
        if self.autoattack:
            named["autoattack"] = RobustAccuracy(AutoAttack(ball), self.autoattack)
            named["pgd20 beside autoattack"] = pgd(ball, self.autoattack)
        balls = [Linf(epsilon) for epsilon in self.epsilons] + [L2(radius) for radius in self.radii]
        return named | {str(ball): pgd(ball) for ball in balls}

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        return finding(found, self.plain, self.epsilon)


def _wait(nets: Sequence[tuple[dd.Draw, int]]) -> None:
    """Until the device has done what was asked of it."""
    for draw, _ in nets:
        next(iter(draw.params.values())).sum().item()


def _judged(
    measures: dict[str, dd.Measure],
    nets: Sequence[tuple[dd.Draw, int]],
    data: dd.Preprocessed,
    progress: dd.Progress | None,
) -> dict[str, Any]:
    """The mean over the nets, the values, and the seconds of each measure, by its name.

    Raises:
        LossDiverged: all nets have.
    """
    told: dict[dd.Measure, tuple[list[float], float]] = {}
    for measure in dict.fromkeys(measures.values()):
        began = time.perf_counter()
        values = [value for draw, chunk in nets for value in dd.measured(measure, draw, data, chunk)]
        told[measure] = [value for value in values if math.isfinite(value)], time.perf_counter() - began
        if not told[measure][0]:
            raise dd.LossDiverged("All networks that were trained diverged. Take a smaller protocol.lr.")
        if progress:
            progress("measuring", len(told), len({*measures.values()}))
    return {
        "scores": {name: fmean(told[measure][0]) for name, measure in measures.items()},
        "values": {name: told[measure][0] for name, measure in measures.items()},
        "seconds": {name: told[measure][1] for name, measure in measures.items()},
    }
