"""Tables for people: cells, Markdown, the results of one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ddcore.naming import in_line

LONG = 300
"""Characters of a fact that a page shows at most; the card has all of it."""
NOT_PRIVATE = (
    "A distilled set is not private by itself (Carlini, Feldman and Nasr, No Free Lunch in 'Privacy for Free', 2022):"
    " unless a certificate stands above, nothing bounds what it tells about single items of the real set."
)


def score_cell(score: Mapping[str, Any], digits: int = 1) -> str:
    """A score as a run's metrics hold it, with how many nets diverged where some did."""
    nets, diverged = len(score["values"]), score["values"].count(None)
    if diverged == nets:
        return f"diverged {diverged} of {nets}"
    return plus_minus(score["mean"], score["std"], nets - diverged, digits=digits) + (
        f", diverged {diverged} of {nets}" if diverged else ""
    )


def plus_minus(mean: float, std: float | None, n: int = 2, *, digits: int = 1, scale: float = 1.0) -> str:
    """``scale`` times a mean and its deviation, "-" where there is none or it is of one value."""
    if math.isnan(mean):
        return "diverged"
    deviation = "-" if std is None or n == 1 else f"{scale * std:.{digits}f}"
    return f"{scale * mean:.{digits}f} ± {deviation}"


def bytes_cell(count: float) -> str:
    return f"{count:,.0f}".replace(",", " ")


def measure_title(name: str, measure: Mapping[str, Any]) -> str:
    """A measure with its unit, and a remark where lower is better."""
    notes = [measure["unit"], *(["lower is better"] if not measure["higher_is_better"] else [])]
    said = ", ".join(filter(None, notes))
    return name.replace("_", " ") + (f" ({said})" if said else "")


def warnings_of(metrics: Mapping[str, Any]) -> list[str]:
    """What whoever is shown the set of one run must read, in sentences."""
    return [*metrics["facts"].get("warnings", []), *metrics.get("short", [])]


def measures_of(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The measures of one run, the one that chooses first."""
    first = metrics["chosen_by"]
    return {name: metrics["measures"][name] for name in sorted(metrics["measures"], key=lambda name: name != first)}


def results(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The scores of one run as a table: its head and its rows, the distilled set first."""
    measures, networks = measures_of(metrics), list(metrics["scores"][metrics["chosen_by"]])
    each = {name: n for name, n in metrics.get("baseline_ipc", {}).items() if n != metrics["ipc"]}
    called = {name: f"{name}, {each[name]} per class" if name in each else name for name in metrics["baselines"]}
    sets = {f"{metrics['method']} (distilled)": metrics["scores"]}
    sets |= {called[name]: scores for name, scores in metrics["baselines"].items()}
    columns = [(network, name) for network in networks for name in measures]
    head = [network if len(measures) == 1 else f"{network}: {measure_title(n, measures[n])}" for network, n in columns]
    return ["set", *head], [
        [name, *(score_cell(scores[measure][network], measures[measure]["digits"]) for network, measure in columns)]
        for name, scores in sets.items()
    ]


def stated_facts(facts: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """``facts`` of a set for a page: the single values, in short, and each table of them as a section in Markdown."""
    single = {name: _in_short(value) for name, value in facts.items() if not _tables(value)}
    return single, "".join(
        f"## {name.capitalize()}\n\n{markdown_table(['what', 'value'], _certified(table))}\n"
        for name, value in facts.items()
        for table in _tables(value)
    )


def _certified(facts: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in facts.items():
        yield [name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else _in_short(value)]


def _in_short(value: Any) -> str:
    text = in_line(value).strip("[]")
    return text if len(text) <= LONG else f"{text[:LONG]} ..."


def _tables(fact: Any) -> list[Mapping[str, Any]]:
    """The tables that ``fact`` is, or is a list of; none where it is anything else."""
    each = fact if isinstance(fact, list) else [fact]
    return each if each and all(isinstance(one, Mapping) for one in each) else []


def latex_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The table as LaTeX, for the package booktabs."""
    lines = [list(head), *(list(row) for row in rows)]
    cells = [[_in_latex(cell) for cell in line] for line in lines]
    first, *rest = (f"{' & '.join(line)} \\\\\n" for line in cells)
    columns = "l" * len(lines[0])
    body = f"\\toprule\n{first}\\midrule\n{''.join(rest)}\\bottomrule\n"
    return f"\\begin{{tabular}}{{{columns}}}\n{body}\\end{{tabular}}\n"


def _in_latex(cell: str) -> str:
    escaped = "".join(f"\\{sign}" if sign in "&%$#_{}" else sign for sign in cell.replace("\\", "/"))
    return escaped.replace("±", "$\\pm$").replace("~", " ").replace("^", " ")


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
