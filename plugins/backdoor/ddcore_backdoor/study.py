"""The study: what triggers achieve through a distillation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch

from ddcore import plugin as dd
from ddcore_backdoor.learning import Doorping
from ddcore_backdoor.measures import AttackSuccess
from ddcore_backdoor.pictures import write_triggers
from ddcore_backdoor.poison import Poison, poisonings
from ddcore_backdoor.triggers import Patch

CONTROL = 90
"""Success in percent on networks that are trained on the poisoned T itself, below which a trigger says nothing."""
SAID = {"accuracy": "accuracy", "attack_success": "success"}
"""What the numbers of a measure are called."""
PICTURE = "triggers.png"
HEAD = ("method", "attack", "share", "control", "success", "same trigger, clean set", "accuracy", "clean", "loss")


def _usual() -> tuple[Poison, ...]:
    patch = Patch(width=4)
    return Poison(patch), Poison(patch, learned=Doorping(aim="target", moves=20, until=0.1, lr=0.05, untrained=False))


@dataclass(frozen=True)
class Backdoor(dd.Study):
    """What each attack achieves on networks that learn from a distilled set, with each method, share and seed.

    Each poisoned set stands beside its unpoisoned twin, which is made with the same seed. Success is counted on items
    of other classes than the target. Beside it stand the control, networks that are trained on the poisoned T itself,
    without which nothing is claimed; the same trigger on networks that learned from the twin, which tells a backdoor
    from a pattern that fools any network; and all of it once more under ``moving``, a protocol with geometric
    augmentation, which moves a patch.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "seeds"})
    several: ClassVar[tuple[str, ...]] = ("methods", "attacks", "shares", "seeds")

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that are poisoned and distilled."""
    methods: tuple[str, ...] = ("dc",)
    """By name: ``ddcore list methods``."""
    ipc: dd.Count = 10
    """Images per class."""
    attacks: tuple[Poison, ...] = field(default_factory=_usual)
    """The attacks; their shares are those of ``shares``."""
    shares: tuple[dd.PositiveShare, ...] = (0.01, 0.1)
    """Shares of T that are poisoned."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipes by dotted path, in a table for each method: ``dc = {"objective.real" = 64}``; in that named
    ``all`` those of every method, which its own table may change."""
    protocol: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None, repeats=3))
    """How networks are trained on the sets; a geometric augmentation would move the trigger."""
    moving: dd.Augment | None = field(default_factory=dd.Affine)
    """The augmentation of a second evaluation, otherwise the same; None for no second one."""
    control: dd.Protocol = field(default_factory=lambda: dd.Protocol(steps=500, augment=None, repeats=3))
    """How networks are trained on the poisoned T."""
    seeds: tuple[dd.Whole, ...] = (0, 1, 2)
    """One distillation with each."""

    def cases(self, host: dd.Host) -> list[dd.Case]:
        found = []
        for seed, method in product(self.seeds, self.methods):
            overrides = dd.overrides_of(method, self.overrides, host)
            recipe = host.recipe(method, kind=self.data.item_kind(), ipc=self.ipc, overrides=overrides)
            found.append(dd.Case(f"{self.data.part_name()}-{method}", seed, {"method": method, "recipe": recipe}))
        return found

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        """The twin, and then each attack with each share, in folders of their own below ``folder``."""
        recipe = replace(case.description["recipe"], seed=case.seed or 0)
        sets = {"clean": self._distilled(recipe, folder / "clean", host, device, progress)}
        for label, poison in self.poisons().items():
            poisoned = replace(recipe, views=(*recipe.views, poison))
            sets[label] = self._distilled(poisoned, folder / label.replace(", ", "-"), host, device, progress)
        write_triggers({label: made for label, (made, _) in sets.items()}, dd.loaded(self.data), host, folder / PICTURE)
        twin, seed = sets.pop("clean")[0], case.seed or 0
        clean = self._on_clean(twin, {label: made for label, (made, _) in sets.items()}, seed, host, device)
        found = {label: self._judged(made, still, seed, host, device) for label, (made, still) in sets.items()}
        return {"clean": clean.pop("clean"), "attacks": {n: {**told, "twin": clean[n]} for n, told in found.items()}}

    def poisons(self) -> dict[str, Poison]:
        """Each attack with each share, by name."""
        named = zip(names(self.attacks), self.attacks, strict=True)
        return {
            f"{name}, {100 * share:g} %": replace(attack, share=share)
            for (name, attack), share in product(named, self.shares)
        }

    def _distilled(self, recipe, folder, host, device, progress) -> tuple[dd.DistilledSet, dict[str, float]]:
        """The set, and what networks do that learned from it under the protocol as it is."""
        measures = (dd.Accuracy(), AttackSuccess()) if recipe.views else (dd.Accuracy(),)
        settings = dd.Settings(self.data, replace(self.protocol, measures=measures), baselines=())
        experiment = dd.Experiment(recipe, settings)
        metrics = dd.run_or_resume(experiment, folder, host=host, device=device, progress=progress)
        told = {name: [one["mean"] for one in of.values()] for name, of in metrics["scores"].items()}
        return dd.DistilledSet.load(dd.Folder(folder).distilled), {
            SAID[name]: math.nan if None in values else fmean(values) for name, values in told.items()
        }

    def _judged(
        self, distilled: dd.DistilledSet, still: dict[str, float], seed: int, host: dd.Host, device: str
    ) -> dict[str, Any]:
        data, told = dd.loaded(self.data), poisonings(distilled, host)[-1]
        measures = (dd.Accuracy(), AttackSuccess(told.trigger, told.target))
        given = {"seed": seed, "host": host, "device": device}
        found: dict[str, Any] = {"poisoning": dd.to_dict(told), "still": still}
        if self.moving is not None:
            protocol = replace(self.protocol, augment=self.moving, measures=measures)
            found["moving"] = means(dd.evaluate(distilled, data, protocol, **given))
        view = Poison(told.trigger, told.target, told.share)
        source = dd.Source(data.train, (view,), dd.Streams(seed), torch.device(device))
        control = replace(self.control, measures=measures)
        fitted = dd.preprocess_of(distilled, host.catalogue)
        found["control"] = means(dd.evaluate(source, data, control, preprocess=fitted, **given))
        return found

    def _on_clean(
        self, twin: dd.DistilledSet, sets: dict[str, dd.DistilledSet], seed: int, host: dd.Host, device: str
    ) -> dict[str, dict[str, float]]:
        """What networks that learned from ``twin`` do: on clean items, and under the trigger of each poisoned set."""
        told = {label: poisonings(made, host)[-1] for label, made in sets.items()}
        asked = {label: AttackSuccess(one.trigger, one.target) for label, one in told.items()}
        measures = (dd.Accuracy(), *dict.fromkeys(asked.values()))
        data, found = dd.loaded(self.data), defaultdict(dict)
        ways = {"still": self.protocol.augment} | ({} if self.moving is None else {"moving": self.moving})
        for way, augment in ways.items():
            protocol = replace(self.protocol, augment=augment, measures=measures)
            scores = dd.evaluate(twin, data, protocol, seed=seed, host=host, device=device)
            by_measure = dict(zip(measures, (mean(of) for of in scores.values()), strict=True))
            found["clean"][way] = by_measure[measures[0]]
            for label, measure in asked.items():
                found[label][way] = by_measure[measure]
        return dict(found)

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        told = []
        for alike in dd.over_seeds(found):
            numbers = [one.numbers for one in alike]
            for (attack, share), label in zip(product(names(self.attacks), self.shares), self.poisons(), strict=True):
                about = {"method": alike[0].case.description["method"], "attack": attack, "share": 100 * share}
                told.append({**about, **summary(numbers, label)})
        return dd.Finding(*_table(told), {"attacks": told}, _says(told), (_plot(told),))


def names(attacks: Sequence[Poison]) -> list[str]:
    """What ``attacks`` are called: how they are learned and what marks them, or all in which they differ."""
    found = [f"{attack.learning} {attack.trigger.part_name()}" for attack in attacks]
    return found if len(set(found)) == len(found) else dd.labels(attacks)


def mean(of: dict[str, dd.Score]) -> float:
    """The mean of one measure over all networks."""
    return sum(score.mean for score in of.values()) / len(of)


def means(scores: dd.Scores) -> dict[str, float]:
    return {SAID[name]: mean(of) for name, of in scores.items()}


def summary(numbers: list[dict[str, Any]], label: str) -> dict[str, Any]:
    """One attack with one share over the seeds; ``loss`` is of accuracy, against the twin of the same seed."""
    mine = [(told["clean"], told["attacks"][label]) for told in numbers]
    found: dict[str, Any] = {"poisonings": [one["poisoning"] for _, one in mine]}
    found["control"] = dd.spread([one["control"]["success"] for _, one in mine])
    for name in mine[0][0]:
        found[name] = {
            "success": dd.spread([one[name]["success"] for _, one in mine]),
            "twin": dd.spread([one["twin"][name] for _, one in mine]),
            "accuracy": dd.spread([one[name]["accuracy"] for _, one in mine]),
            "clean": dd.spread([clean[name] for clean, _ in mine]),
            "loss": dd.spread([clean[name] - one[name]["accuracy"] for clean, one in mine]),
        }
    return found


def _table(told: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    moving = any("moving" in one for one in told)
    rows = []
    for one in told:
        still = one["still"]
        cells = [one["control"], *(still[name] for name in ("success", "twin", "accuracy", "clean", "loss"))]
        cells += [one["moving"]["success"]] if moving else []
        rows.append([one["method"], one["attack"], f"{one['share']:g} %", *(dd.plus_minus(**cell) for cell in cells)])
    return [*HEAD, *(["success, augmented"] if moving else [])], rows


def _says(told: list[dict[str, Any]]) -> str:
    said = [
        "Percent, over the seeds: success on test items of other classes than the target, for networks trained on the"
        " poisoned T (control), on the poisoned set, and on its unpoisoned twin under the same trigger; accuracy on"
        " clean items, that of the twin, and the difference."
    ]
    weak = [f"{one['method']}, {one['attack']}, {one['share']:g} %" for one in told if one["control"]["mean"] < CONTROL]
    if weak:
        said.append(f"No claim is made about {'; '.join(weak)}: the control itself is below {CONTROL} %.")
    return " ".join(said)


def _plot(told: list[dict[str, Any]]) -> dd.Plot:
    """A panel per method: success against the share, and that of the controls."""
    panels = []
    for method in dict.fromkeys(one["method"] for one in told):
        lines = []
        mine = [one for one in told if one["method"] == method]
        for attack in dict.fromkeys(one["attack"] for one in mine):
            points = [
                (one["share"], one["still"]["success"], one["control"]) for one in mine if one["attack"] == attack
            ]
            shares, success, control = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            bars = [s["std"] for s in success]
            lines.append(dd.Line(attack, [s["mean"] for s in success], shares, bars))
            lines.append(dd.Line(f"{attack}, control", [c["mean"] for c in control], shares, reference=True))
        panels.append(dd.Panel(lines, method, "x"))
    return dd.Plot("success", "share of T that is poisoned (%)", "attack success (%)", [panels])
