"""What a study of robustness found: a table, sentences, and accuracy against epsilon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from scipy.stats import ttest_ind

from ddcore import plugin as dd
from ddcore_robust.sanity import Battery, attack_efficiency, robustness_ratio, sentences

Way = Literal["standard", "adversarial"]
WHOLE = "whole"
"""The name of T among the sets."""
COLUMNS = {
    "accuracy": "accuracy",
    "fgsm": "FGSM",
    "pgd20": "PGD-20",
    "pgd100": "PGD-100",
    "transfer": "transfer",
    "autoattack": "AutoAttack",
}
WHITE_BOX = ("fgsm", "pgd20", "pgd100")
"""The attacks that the scores of BEARD are taken over."""

Cells = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""The numbers of each set in each way, one of each seed."""


def finding(found: Sequence[dd.Found], plain: str, epsilon: float) -> dd.Finding:
    """The finding of the cases ``found``, each set compared with ``plain`` and with T."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for alike in dd.over_seeds(found):
        for one in alike:
            for way, numbers in one.numbers["ways"].items():
                own = {**numbers, "distilling": one.numbers["distilling"]}
                cells.setdefault((one.numbers["set"], way), []).append(own)
    batteries = {f"{name}, {way} training": _battery(numbers) for (name, way), numbers in cells.items()}
    head = ["set", "training", *COLUMNS.values(), "RR", "AE", "s distilling", "s training"]
    said = [*_against_plain(cells, plain), *_against_whole(cells), sentences(batteries)]
    heading = f"Attacks within the L-infinity ball of epsilon {epsilon:g} (accuracy: none), mean ± over seeds."
    rows = [_row(name, way, numbers) for (name, way), numbers in cells.items()]
    numbers = {f"{name}, {way}": _numbers(each) for (name, way), each in cells.items()}
    return dd.Finding(head, rows, {"epsilon": epsilon, "sets": numbers}, " ".join([heading, *said]), (_plot(cells),))


def _scores(cell: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [numbers["scores"][name] for numbers in cell if name in numbers["scores"]]


def _mean(cell: Sequence[Mapping[str, Any]], name: str) -> float:
    return fmean(_scores(cell, name))


def _battery(cell: Sequence[Mapping[str, Any]]) -> Battery:
    beyond = _scores(cell, "autoattack")
    return Battery(
        *(_mean(cell, name) for name in ("clean", "fgsm", "pgd20", "pgd100", "transfer", "anything")),
        beyond=_mean(cell, "pgd20 beside autoattack") - fmean(beyond) if beyond else None,
    )


def _beard(cell: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """RR and AE with each seed."""
    ratios = [robustness_ratio(n["scores"]["clean"], [n["scores"][a] for a in WHITE_BOX]) for n in cell]
    efficiencies = [attack_efficiency(n["seconds"]["clean"], [n["seconds"][a] for a in WHITE_BOX]) for n in cell]
    return ratios, efficiencies


def _row(name: str, way: str, cell: Sequence[Mapping[str, Any]]) -> list[str]:
    measured = [_scores(cell, measure) for measure in COLUMNS]
    cells = [dd.plus_minus(**dd.spread(values)) if values else "-" for values in (*measured, *_beard(cell))]
    seconds = [f"{fmean(n[what] for n in cell):.1f}" for what in ("distilling", "training")]
    return [name, way, *cells, *seconds]


def _numbers(cell: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ratios, efficiencies = _beard(cell)
    names = dict.fromkeys(name for numbers in cell for name in numbers["scores"])
    return {
        **{name: dd.spread(_scores(cell, name)) for name in names},
        "robustness_ratio": dd.spread(ratios),
        "attack_efficiency": dd.spread(efficiencies),
        **{f"{what}_seconds": dd.spread([n[what] for n in cell]) for what in ("distilling", "training")},
    }


def _against_plain(cells: Cells, plain: str) -> Iterator[str]:
    """How far each distilled set is above the plain one after standard training."""
    there = cells.get((plain, "standard"))
    for (name, way), cell in cells.items():
        if there is None or way != "standard" or name in (plain, WHOLE):
            continue
        mine, its = _scores(cell, "pgd20"), _scores(there, "pgd20")
        yield (
            f"After standard training {name} is {fmean(mine) - fmean(its):+.1f} points from {plain} under PGD-20"
            f" ({_significance(mine, its)})."
        )


def _significance(mine: Sequence[float], its: Sequence[float]) -> str:
    if min(len(mine), len(its)) < 2:
        return "one seed, so nothing says whether that is chance"
    test: Any = ttest_ind(mine, its, equal_var=False)
    p = float(test.pvalue)
    told = "p undefined: no spread" if math.isnan(p) else f"p = {p:.2g}"
    return f"Welch's t over {len(mine)} and {len(its)} seeds, {told}"


def _against_whole(cells: Cells) -> Iterator[str]:
    """What adversarial training on each set reaches of what it reaches on T, and in which share of the time."""
    whole = cells.get((WHOLE, "adversarial"))
    for (name, way), cell in cells.items():
        if whole is None or way != "adversarial" or name == WHOLE:
            continue
        mine, its = _mean(cell, "pgd20"), _mean(whole, "pgd20")
        seconds, of = (fmean(n["training"] for n in each) for each in (cell, whole))
        distilling = fmean(n["distilling"] for n in cell)
        yield (
            f"Adversarial training on {name} reaches {_share(mine, its)} of what it reaches on T under PGD-20"
            f" ({mine:.1f} of {its:.1f}) in {_share(seconds, of)} of its time, and in"
            f" {_share(seconds + distilling, of)} with the distilling."
        )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "nothing"


def _plot(cells: Cells) -> dd.Plot:
    panels = []
    for norm in ("Linf", "L2"):
        row = []
        for way in dict.fromkeys(way for _, way in cells):
            lines = [_line(name, cell, norm) for (name, its), cell in cells.items() if its == way]
            row.append(dd.Panel(lines, f"{way} training, {norm}"))
        panels.append(row)
    return dd.Plot("epsilon", "epsilon", "accuracy under PGD-20 (%)", panels, shared=False)


def _line(name: str, cell: Sequence[Mapping[str, Any]], norm: str) -> dd.Line:
    """Accuracy against epsilon; where none was asked for, the accuracy without attack alone."""
    measured = [measure for measure in cell[0]["scores"] if measure.startswith(f"{norm} ")]
    points = sorted([(0.0, "clean"), *((float(measure.split()[1]), measure) for measure in measured)])
    spreads = [dd.spread(_scores(cell, measure)) for _, measure in points]
    x = [epsilon for epsilon, _ in points]
    return dd.Line(name, [s["mean"] for s in spreads], x, [s["std"] for s in spreads], reference=name == WHOLE)
