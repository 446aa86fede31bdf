"""The fair card of a set: each way of training on it beside real images at the bytes that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import torch
from markdown_it import MarkdownIt

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.problem import check_problem
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.scores import Score, evaluate
from ddcore.evaluation.teaching import LiveTeacher
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.experiment.evaluating import baseline, kept_for, told_of, with_preprocess
from ddcore.experiment.reading import preprocess_of
from ddcore.files import json_bytes, write_whole
from ddcore.host import Host
from ddcore.labels.stored import answers
from ddcore.naming import labels
from ddcore.networks.base import NetworkPlan
from ddcore.plots import Line, Panel, Plot
from ddcore.report.tables import bytes_cell, markdown_table, plus_minus
from ddcore.tensors import LabelledTensors, checksum
from ddcore.types import Draw, Progress

CHOSEN = ("random", "el2n", "herding")
"""The real images beside a set, as many as its bytes hold."""
WAYS = ("hard labels", "hard, no augmentation", "fixed soft labels", "teacher on the fly")
"""How networks are trained on each set: by its classes, by rows of label values, or by a teacher of each batch."""
ROOM = 512
"""Items that the teacher labels at a time."""


@dataclass(frozen=True)
class FairCard:
    """What networks learn of a set in each way, and of real images at the same bytes in the same ways."""

    name: str
    """Of the set: its method and its data."""
    scores: Mapping[str, Mapping[str, Mapping[str, Score]]]
    """Accuracy in percent by set (``distilled``, ``random``, ``el2n``, ``herding``, ``whole``), way and network."""
    bytes: Mapping[str, int]
    """Stored bytes of each set with its classes."""
    items: Mapping[str, int]
    own: str
    """The way in which the set was made to be trained on."""
    warnings: tuple[str, ...]

    def label_robustness(self, network: str) -> dict[str, float]:
        """The label-robust score and the four accuracies that it is made of, as shares, on ``network``.

        (e^a - e^-1) / (e - e^-1), a = ((S own - random own) - (whole hard - S hard)) / 2 (Li et al., DD-Ranking, 2025).
        """
        hard, own = WAYS[0], self.own
        whole, ours = self._share("whole", hard, network), self._share("distilled", hard, network)
        owned, random = (self._share(name, own, network) for name in ("distilled", "random"))
        four = {"whole, hard labels": whole, "set, hard labels": ours, f"set in its way, {own}": owned}
        return {"LRS": _normalised(((owned - random) - (whole - ours)) / 2), **four, f"random, {own}": random}

    def augmentation_robustness(self, network: str) -> float:
        """The augmentation-robust score: the mean lead over random with and without augmentation, on the same scale."""
        leads = [self._share("distilled", way, network) - self._share("random", way, network) for way in WAYS[:2]]
        return _normalised(sum(leads) / 2)

    def _share(self, name: str, way: str, network: str) -> float:
        return self.scores[name][way][network].mean / 100

    @property
    def networks(self) -> list[str]:
        return list(self.scores["distilled"][WAYS[0]])

    def markdown(self) -> str:
        """The card as one page."""
        lines = [f"# {self.name}", "", *(f"**Warning**: {sentence}\n" for sentence in self.warnings)]
        for network in self.networks:
            rows = [
                [
                    "the set" if name == "distilled" else name,
                    str(self.items[name]),
                    bytes_cell(self.bytes[name]),
                    *(_cell(ways.get(way, {}).get(network)) for way in WAYS),
                ]
                for name, ways in self.scores.items()
            ]
            found = self.label_robustness(network)
            four = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if name != "LRS")
            lines += [
                *(f"## Trained on it: {network}", "", markdown_table(["set", "items", "bytes", *WAYS], rows)),
                f"Label-robust score {found['LRS']:.3f}, of {four}; augmentation-robust score"
                f" {self.augmentation_robustness(network):.3f}. Both are of shares, as (e^x - e^-1) / (e - e^-1).",
                "",
            ]
        lines += [
            "Accuracy on the test split in percent, mean ± deviation over fresh networks. Random, el2n and herding are"
            " real images, as many as the bytes of the set hold; bytes are counted with one class per item. One"
            " teacher, trained on all of T, gives soft labels and teaches on the fly, for every set the same; a set"
            f" that brings label values has its own in place of its soft ones. The set was made for: {self.own}.",
            "",
            "![Accuracy in each way](card.png)",
        ]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """The same page for a browser."""
        style = "body{font-family:sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:right}"
        body = MarkdownIt("commonmark", {"html": False}).enable("table").render(self.markdown())
        head = f'<meta charset="utf-8"><title>{escape(self.name)}</title><style>{style}</style>'
        return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{body}</body></html>\n"

    def plain(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            "name": self.name,
            "scores": {
                name: {way: {network: score.plain() for network, score in by.items()} for way, by in ways.items() if by}
                for name, ways in self.scores.items()
            },
            **{"bytes": dict(self.bytes), "items": dict(self.items), "own": self.own, "warnings": list(self.warnings)},
            "label_robustness": {network: self.label_robustness(network) for network in self.networks},
            "augmentation_robustness": {network: self.augmentation_robustness(network) for network in self.networks},
        }

    def picture(self) -> Plot:
        """Accuracy of each set in each way, a panel per network."""
        panels = []
        for network in self.networks:
            lines = [Line("whole", [self.scores["whole"][WAYS[0]][network].mean], reference=True)]
            for name in ("distilled", *CHOSEN):
                each = [self.scores[name][way][network] for way in WAYS]
                means, bars = [score.mean for score in each], [score.std for score in each]
                lines.append(Line(name, means, [1, 2, 3, 4], bars, reference=name != "distilled", joined=False))
            panels.append(Panel(lines, network))
        said = ", ".join(f"{i} {way}" for i, way in enumerate(WAYS, 1))
        return Plot("card", said, "test accuracy (%)", [panels])

    def write(self, folder: Path) -> None:
        """Leave ``card.md``, ``card.html``, ``card.json`` and ``card.png`` in ``folder``."""
        write_whole(folder / "card.md", self.markdown().encode())
        write_whole(folder / "card.html", self.html().encode())
        write_whole(folder / "card.json", json_bytes(self.plain()))
        self.picture().save(folder / "card.png")


def _normalised(x: float) -> float:
    return (math.exp(x) - math.exp(-1)) / (math.e - math.exp(-1))


def _cell(score: Score | None) -> str:
    return "-" if score is None else plus_minus(score.mean, score.std, len(score.finite))


def fair_card(
    distilled: DistilledSet,
    data: RealData,
    protocol: Protocol | None = None,
    *,
    host: Host | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FairCard:
    """Train networks on ``distilled`` in four ways, and on real images at its bytes in the same, and on all of T.

    What was measured before is read from the cache.

    Raises:
        RecipeRefused: the targets are no classes, or the items are more than tensors.
    """
    host = host or Host()
    protocol = protocol or host.kind(data.card.kind).adapted(Protocol())
    protocol = replace(protocol.without_teacher(), cutmix=0.0, learned_lr=False, replay=False)
    protocol = replace(protocol, measures=(Accuracy(),), chosen_by=None)
    check_problem(distilled.data, data.card, by_number=False)
    if data.card.values is not None or not data.card.apart:
        raise RecipeRefused(f"A card is of items that have a class each, and those of {data.card.name} have not.")
    protocol.check(data, host.catalogue)
    recipe, preprocess = Recipe.from_toml(distilled.recipe, host.catalogue), preprocess_of(distilled, host.catalogue)
    whole = Preprocessed(data.train, preprocess)
    teacher = _teacher(recipe.network, whole, data, protocol, recipe.seed, device, progress)
    taught = {name: checksum(name, value) for name, value in teacher.teacher.params.items()}
    known = with_preprocess(kept_for(recipe, host), distilled)
    sets = {"distilled": distilled}
    for name in CHOSEN:
        sets[name] = host.distill(baseline(name, recipe, data, host, distilled.nbytes), data, device=device)
    scores: dict[str, dict[str, dict[str, Score]]] = {}
    for name, found in sets.items():
        scores[name] = {}
        for way, (tensors, plan, live) in _ways(found, teacher, protocol, device).items():
            told = told_of(f"{name}, {way}", progress)
            kept = known.also(
                set={key: checksum(key, value) for key, value in tensors.state_dict().items()},
                teacher=taught if live else None,
            )
            given = (data, preprocess, plan, recipe.seed, device, told, live)
            scores[name][way] = evaluate(tensors, *given, distilled=distilled, kept=kept)["accuracy"]
    kept = known.also(set=whole.content)
    given = (data, preprocess, protocol, recipe.seed, device, told_of("whole", progress))
    scores["whole"] = {WAYS[0]: evaluate(whole, *given, kept=kept)["accuracy"]}
    return FairCard(
        name=f"{distilled.method} on {data.card.name}, {len(distilled)} items",
        scores=scores,
        bytes={**{name: found.nbytes for name, found in sets.items()}, "whole": whole.nbytes},
        items={**{name: len(found) for name, found in sets.items()}, "whole": len(whole)},
        own=WAYS[3] if distilled.teaching else WAYS[2] if distilled.targets.ndim == 2 else WAYS[0],
        warnings=(*distilled.warnings, *_norms(recipe.network, protocol.networks)),
    )


def _teacher(
    plan: NetworkPlan,
    whole: Preprocessed,
    data: RealData,
    protocol: Protocol,
    seed: int,
    device: str,
    progress: Progress | None,
) -> LiveTeacher:
    """A network of ``plan`` trained on all of T under ``protocol``."""
    augment = protocol.augment.fitted(data.card) if protocol.augment else None
    own = replace(protocol, augment=augment)
    network = plan.ready(data.card)
    given = (torch.device(device), "training the teacher", progress)
    draw = train(network, whole, data.card, own, protocol.lr[0], [0], seed, *given)
    params, buffers = ({name: value[0] for name, value in held.items()} for held in (draw.params, draw.buffers))
    return LiveTeacher(Draw(network, params, buffers))


def _ways(
    found: DistilledSet, teacher: LiveTeacher, protocol: Protocol, device: str
) -> dict[str, tuple[LabelledTensors, Protocol, LiveTeacher | None]]:
    """What networks are trained on in each of the ways, under which protocol, and by whom they are taught."""
    classes = found.targets if found.targets.ndim == 1 else found.targets.argmax(1)
    rows, loss = found.targets, found.loss
    if rows.ndim == 1:
        draw = teacher.teacher
        with torch.no_grad():
            rows = answers(draw, draw.params, found.inputs.to(device), ROOM).softmax(1).cpu()
    hard, soft = LabelledTensors(found.inputs, classes), LabelledTensors(found.inputs, rows, loss)
    alone = replace(protocol, augment=None)
    taught = replace(protocol, temperature=1.0)
    each = ((hard, protocol, None), (hard, alone, None), (soft, protocol, None), (hard, taught, teacher))
    return dict(zip(WAYS, each, strict=True))


def _norms(distilling: NetworkPlan, evaluating: Sequence[NetworkPlan]) -> Iterator[str]:
    """Where a network that is trained on the set has another normalisation than the one that the set was made on."""
    made = getattr(distilling, "norm", None)
    for name, plan in zip(labels(evaluating), evaluating, strict=True):
        norm = getattr(plan, "norm", None)
        if norm != made:
            yield (
                f"{name} has norm {norm or 'none'}, and the set was made on {distilling.part_name()} with norm"
                f" {made or 'none'}: a part of the difference is the norm's."
            )
