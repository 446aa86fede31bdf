"""Tables for people: cells, Markdown, the results of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def _score(score: Mapping[str, Any]) -> str:
    return plus_minus(score["mean"], score["std"], len(score["values"]))


def plus_minus(mean: float, std: float | None, n: int = 2, *, digits: int = 1, scale: float = 1.0) -> str:
    """``scale`` times a mean and its deviation, "-" where there is none or it is of one value."""
    deviation = "-" if std is None or n == 1 else f"{scale * std:.{digits}f}"
    return f"{scale * mean:.{digits}f} ± {deviation}"


def bytes_cell(count: float) -> str:
    return f"{count:,.0f}".replace(",", " ")


def results(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The accuracies of one run as a table: its head and its rows, the distilled set first."""
    networks = list(metrics["accuracy"])
    sets = {f"{metrics['method']} (distilled)": metrics["accuracy"], **metrics["baselines"]}
    return ["set", *networks], [[name, *(_score(scores[n]) for n in networks)] for name, scores in sets.items()]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
