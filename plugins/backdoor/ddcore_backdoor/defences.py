"""The study: which defences find a trigger, and how often they find one where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_backdoor.measures import AttackSuccess, stamped
from ddcore_backdoor.nets import Reconstruction, Strip
from ddcore_backdoor.poison import LivePoison, Poison, Poisoning, poisonings
from ddcore_backdoor.repairs import FineTuning, Pruning
from ddcore_backdoor.sets import ActivationClustering, SpectralSignatures
from ddcore_backdoor.suspect import Defence, Suspect, Verdict
from ddcore_backdoor.triggers import Patch, Trigger


def _usual() -> tuple[Defence, ...]:
    checks = (ActivationClustering(), SpectralSignatures(), Strip(), Reconstruction())
    return (*checks, FineTuning(), Pruning())


@dataclass(frozen=True)
class Defences(dd.Study):
    """Each defence on each of the given sets, poisoned and clean: what it finds, and what it finds where nothing is.

    The defender has the set, one network that learned from it, and a few clean items of T; the trigger on the card is
    only used to see whether the defence was right. Where a set is poisoned, the poisoned T stands beside it as a
    suspect too, with a network trained on it, which is what the defences were made for.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"sets", "controls"})
    several: ClassVar[tuple[str, ...]] = ("defences",)

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that the sets were made from."""
    sets: tuple[dd.FilePath, ...] = ()
    """Distilled sets, or folders of which every ``distilled.safetensors`` below is taken."""
    defences: tuple[Defence, ...] = field(default_factory=_usual)
    """What is tried."""
    trigger: Trigger = field(default_factory=lambda: Patch(width=4))
    """What inputs are stamped with where a set tells of no trigger; the target is class 0."""
    samples: dd.Count = 10
    """Clean items of each class that the defender has."""
    tested: dd.Count = 500
    """Items of the test split that are shown to what refuses inputs."""
    examined: dd.Count = 2000
    """Items of a poisoned T that are examined."""
    controls: bool = True
    """Whether the poisoned T stands beside each poisoned set."""
    protocol: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None))
    """How the network is trained; the first one, at the first learning rate, once."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if len(set(dd.labels(self.defences))) < len(self.defences):
            yield "defences holds the same one twice"

    @cached_property
    def chosen(self) -> list[Path]:
        """The sets that are there. Raises RecipeRefused where there are none."""
        found = [file for place in self.sets for file in _below(Path(place))]
        if not found:
            raise dd.RecipeRefused(
                "There is no distilled set to examine. Name some files or folders: --set 'sets=[\"runs\"]'."
            )
        return found

    def cases(self, host: dd.Host) -> list[dd.Case]:
        for defence in self.defences:
            defence.ready()
        found: dict[str, dd.Case] = {}
        for file in self.chosen:
            for case in self._of(dd.DistilledSet.load(file), file, host):
                found.setdefault(case.folder, case)
        return list(found.values())

    def _of(self, made: dd.DistilledSet, file: Path, host: dd.Host) -> Iterator[dd.Case]:
        told, seed = poisonings(made, host), made.facts.get("seed", 0)
        about = {"method": made.method, "poison": "", "share": 0.0, "suspect": "set"}
        if told:
            one = told[-1]
            about |= {"poison": f"{one.learned} {one.trigger.part_name()}", "share": 100 * one.share}
        label = ", ".join([made.method, f"{about['poison']}, {about['share']:g} %" if told else "clean"])
        yield dd.Case(label, seed, {**about, "file": str(file)})
        if told and self.controls:
            yield dd.Case(f"{label}, T itself", seed, {**about, "suspect": "T", "file": str(file)})

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        data, made = dd.loaded(self.data), dd.DistilledSet.load(case.description["file"])
        told = poisonings(made, host)
        one = told[-1] if told else Poisoning(self.trigger, 0)
        fitted, where = dd.preprocess_of(made, host.catalogue), torch.device(device)
        training, marked = made, None
        if case.description["suspect"] == "T":
            training, marked = self._poisoned(one, data, fitted, case.seed or 0, where)
        rows = torch.randperm(len(training), generator=dd.Streams(case.seed or 0)["examined"])[: self.examined]
        suspect = self._suspect(training, rows, data, fitted, case.seed or 0, where)
        bench = Bench(data, fitted, one, self.tested, None if marked is None else marked[rows])
        found: dict[str, Any] = {"poisoned": bool(told), "before": bench.both(suspect.draw), "defences": {}}
        for i, (name, defence) in enumerate(zip(dd.labels(self.defences), self.defences, strict=True)):
            found["defences"][name] = bench.judged(defence.examine(suspect, dd.Streams(case.seed or 0)))
            if progress:
                progress(f"{case.label}: {name}", i + 1, len(self.defences))
        return {**{k: case.description[k] for k in ("method", "poison", "share", "suspect")}, **found}

    def _poisoned(self, one: Poisoning, data: dd.RealData, fitted: dd.Fitted, seed: int, where: torch.device):
        """The poisoned T as a training set, and which of its items are stamped."""
        source = dd.Source(data.train, (Poison(one.trigger, one.target, one.share),), dd.Streams(seed), where)
        live = cast(LivePoison, source.views[0])
        return dd.Preprocessed(source, fitted), torch.isin(source.store.order, live.places)

    def _suspect(
        self, training, rows: Tensor, data: dd.RealData, fitted: dd.Fitted, seed: int, where: torch.device
    ) -> Suspect:
        (plan, *_), (lr, *_) = self.protocol.networks, self.protocol.lr
        protocol, rng = replace(self.protocol, repeats=1), dd.Streams(seed)
        ((draw, _),) = dd.fresh_nets(plan, training, data.card, protocol, lr, seed, where)
        inputs, targets = training.take(rows)
        classes = targets if targets.ndim == 1 else targets.argmax(1)
        drawn = [data.train.draw(rng["clean"], (c,), self.samples) for c in range(data.card.classes)]
        clean = data.train.take(torch.cat(drawn))
        held = (fitted(clean.inputs).to(where), clean.targets.to(where))
        return Suspect(inputs.to(where), classes.to(where), draw, *held, fitted, data.card.classes)

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        numbers = [one.numbers for one in found]
        rows, told = [], []
        for method in dict.fromkeys(n["method"] for n in numbers):
            for suspect in ("set", "T"):
                mine = [n for n in numbers if (n["method"], n["suspect"]) == (method, suspect)]
                for name in dd.labels(self.defences) if mine else ():
                    summed = summary(mine, name)
                    told.append({"method": method, "suspect": suspect, "defence": name, **summed})
                    rows.append([method, suspect, name, *(summed[column] for column in COLUMNS)])
        says = (
            "Percent of the suspects in which a class is accused, and in which the target is among them; of stamped and"
            " of clean items of T that are taken for poisoned; of stamped and of unmarked inputs that are refused;"
            " attack success and accuracy before and after a repair. What is found in clean suspects is a false alarm."
        )
        return dd.Finding(["method", "suspect", "defence", *COLUMNS], rows, {"defences": told}, says)


@dataclass(frozen=True)
class Bench:
    """What is known of a suspect besides what the defender sees, and how far a verdict is right."""

    data: dd.RealData
    preprocess: dd.Fitted
    told: Poisoning
    tested: int
    stamped: Tensor | None
    """Which of the examined items (n,) bear the trigger; None where nobody can say so, as of a synthetic one."""

    def both(self, draw: dd.Draw) -> dict[str, float]:
        """Accuracy and attack success of one net, in percent."""
        test = dd.Preprocessed(self.data.test, self.preprocess)
        measures = {"accuracy": dd.Accuracy(), "success": AttackSuccess(self.told.trigger, self.told.target)}
        return {name: dd.measured(measure, draw, test, 256)[0] for name, measure in measures.items()}

    def judged(self, verdict: Verdict) -> dict[str, Any]:
        """``verdict`` in numbers."""
        found: dict[str, Any] = {}
        if verdict.accused is not None:
            found |= {"alarm": bool(verdict.accused), "right": self.told.target in verdict.accused}
            found["accused"] = list(verdict.accused)
        if verdict.items is not None and self.stamped is not None:
            found["items_found"] = 100 * float(verdict.items[self.stamped].float().mean())
            found["items_wronged"] = 100 * float(verdict.items[~self.stamped].float().mean())
        if verdict.refuses is not None:
            test = dd.Preprocessed(self.data.test, self.preprocess)
            rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[: self.tested]
            rows = rows[self.data.test.targets[rows] != self.told.target]
            for name, shown in (("stamped", stamped(test, self.told.trigger)), ("unmarked", test)):
                inputs, _ = shown.take(rows)
                found[f"refused_{name}"] = 100 * float(verdict.refuses(inputs).float().mean())
        if verdict.repaired is not None:
            found["after"] = self.both(verdict.repaired)
        return found


def _below(place: Path) -> Iterable[Path]:
    return sorted(place.rglob("distilled.safetensors")) if place.is_dir() else [place]


COLUMNS = (
    "poisoned: alarm",
    "right class",
    "items found",
    "clean items taken",
    "clean: alarm",
    "poisoned: stamped refused",
    "unmarked refused",
    "clean: stamped refused",
    "poisoned: success",
    "accuracy",
    "clean: accuracy",
)


def summary(numbers: list[dict[str, Any]], name: str) -> dict[str, str]:
    """What the defence ``name`` came to over the suspects, in the words of ``COLUMNS``."""
    poisoned = [n for n in numbers if n["poisoned"]]
    clean = [n for n in numbers if not n["poisoned"]]

    def share(of: list[dict[str, Any]], key: str) -> str:
        values = [100 * bool(n["defences"][name][key]) for n in of if key in n["defences"][name]]
        return f"{fmean(values):.0f} % of {len(values)}" if values else "-"

    def rate(of: list[dict[str, Any]], key: str) -> str:
        values = [n["defences"][name][key] for n in of if key in n["defences"][name]]
        return f"{fmean(values):.1f}" if values else "-"

    def change(of: list[dict[str, Any]], key: str) -> str:
        pairs = [(n["before"][key], n["defences"][name]["after"][key]) for n in of if "after" in n["defences"][name]]
        return " to ".join(f"{fmean(side):.1f}" for side in zip(*pairs, strict=True)) if pairs else "-"

    cells = (
        *(share(poisoned, "alarm"), share(poisoned, "right")),
        *(rate(poisoned, "items_found"), rate(poisoned, "items_wronged"), share(clean, "alarm")),
        *(rate(poisoned, "refused_stamped"), rate(poisoned, "refused_unmarked"), rate(clean, "refused_stamped")),
        *(change(poisoned, "success"), change(poisoned, "accuracy"), change(clean, "accuracy")),
    )
    return dict(zip(COLUMNS, cells, strict=True))
