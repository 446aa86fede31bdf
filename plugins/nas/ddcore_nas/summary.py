"""What a ranking study found, for people: the table, the sentences and the plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ddcore import plugin as dd
from ddcore_nas.standing import STATISTICS, Lead, Ranked, Standing, Truth, lead
from ddcore_nas.statistics import Numbers, best_of, spearman

SEARCHES = (1, 10, 100)
"""How many searches share a proxy."""
BAR = "spearman_top_20"
"""What decides whether a proxy is worth its cost."""
MARKED = 0.2
"""Share of the truly best candidates that the scatter plot marks."""


def finding(truth: Truth, standings: Sequence[Standing], cases: Iterable[Mapping[str, Any]], draws: int) -> dd.Finding:
    ranked = [Ranked.of(standing, truth, draws) for standing in standings]
    early = [one for one in ranked if one.standing.early]
    leads = {
        one.standing.name: {what: {n: lead(one, early, what, n) for n in SEARCHES} for what in (BAR, "regret")}
        for one in ranked
        if early and not one.standing.early
    }
    accounted = share_accounted(cases)
    numbers = {
        "candidates": _candidates(truth, standings),
        "proxies": [_told(one, truth, leads.get(one.standing.name, {})) for one in ranked],
        "full": {"seconds": truth.seconds, **_repeatable(truth)},
        "accounted": accounted,
    }
    says = " ".join(_sentences(truth, ranked, leads, accounted))
    plots = (_scatter(truth, ranked), _costs("regret", "regret (points of accuracy)", ranked, "regret"))
    plots += (_costs("top", "Spearman over the top 20 %", ranked, BAR),)
    return dd.Finding(*_table(ranked, leads, truth), numbers, says, plots)


def share_accounted(cases: Iterable[Mapping[str, Any]]) -> float:
    """The seconds of condensing, training and measuring over the wall time of the cases."""
    parts, wall = 0.0, 0.0
    for case in cases:
        results = [r for seeds in case["found"].values() for each in seeds.values() for r in each]
        parts += case["condensing"] + sum(r["training"] + r["measuring"] for r in results)
        wall += case["wall"]
    return parts / wall


def _candidates(truth: Truth, standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Each with its accuracies, the truly best first."""
    order = np.argsort(-truth.mean, kind="stable")
    return [
        {
            "name": truth.names[i],
            "accuracies": truth.accuracies[:, i].tolist(),
            "failed": truth.failed.get(truth.names[i]),
            "proxies": {standing.name: standing.scores[:, i].tolist() for standing in standings},
        }
        for i in map(int, order)
    ]


def _told(ranked: Ranked, truth: Truth, leads: Mapping[str, Mapping[int, Lead]]) -> dict[str, Any]:
    standing = ranked.standing
    return {
        "proxy": standing.label,
        "steps": standing.steps,
        "bytes": standing.nbytes,
        "condensing": standing.condensing,
        "search": standing.search,
        "failed": {truth.names[i]: why for i, why in standing.failed.items()},
        **{name: ranked.told(name) for name in STATISTICS},
        "lead": {what: {str(n): vars(one) for n, one in each.items()} for what, each in leads.items()},
    }


def _repeatable(truth: Truth) -> dict[str, float]:
    """How well full training with one seed ranks what it leads to with the others; nothing of one seed."""
    seeds = len(truth.accuracies)
    if seeds < 2:
        return {}
    others: list[Numbers] = [np.delete(truth.accuracies, i, 0).mean(0) for i in range(seeds)]
    each = list(zip(truth.accuracies, others, strict=True))
    return {name: float(np.mean([of(mine, its) for mine, its in each])) for name, of in STATISTICS.items()}


def _table(
    ranked: Sequence[Ranked], leads: Mapping[str, Mapping[str, Mapping[int, Lead]]], truth: Truth
) -> tuple[list[str], list[list[str]]]:
    head = ["proxy", "steps", "bytes", "s condensing", "s a search", "rho", "top 20 %", "top 10 %", "top 5 %"]
    head += ["tau", "tau top 20 %", "regret", "top 20 % over T at equal cost, 1 / 10 / 100 searches"]
    rows = []
    for one in ranked:
        standing, of = one.standing, one.estimates
        costs = [str(standing.nbytes), f"{standing.condensing:.1f}", f"{standing.search:.1f}"]
        values = [of["spearman"], of[BAR], of["spearman_top_10"], of["spearman_top_5"], of["kendall"]]
        cells = [f"{value:.2f}" for value in (*values, of["kendall_top_20"])] + [f"{of['regret']:.2f}"]
        over = leads.get(standing.name)
        ahead = " / ".join(f"{each.estimate:+.2f}" for each in over[BAR].values()) if over else ""
        rows.append([standing.label, str(standing.steps), *costs, *cells, ahead])
    again = _repeatable(truth)
    if again:
        names = ("spearman", BAR, "spearman_top_10", "spearman_top_5", "kendall", "kendall_top_20", "regret")
        rows.append(
            ["in full, another seed", "", "", "0.0", f"{truth.seconds:.1f}", *(f"{again[n]:.2f}" for n in names)]
        )
        rows[-1].append("")
    return head, rows


def _sentences(
    truth: Truth, ranked: Sequence[Ranked], leads: Mapping[str, Mapping[str, Mapping[int, Lead]]], accounted: float
) -> Iterable[str]:
    seeds = len(truth.accuracies)
    yield (
        f"{len(truth.names)} candidates, {seeds} seed{'s' if seeds > 1 else ''}: Spearman's rho and Kendall's tau-b"
        " between accuracy on validation after training on the proxy and mean accuracy on test after full training,"
        " over all and over the truly best; regret in points of accuracy."
    )
    best = max(ranked, key=lambda one: one.estimates[BAR])
    low, high = best.told(BAR)["over_candidates"]
    yield f"Ranks the top 20 % best: {best.standing.name}, {best.estimates[BAR]:.2f} [{low:.2f}, {high:.2f}]."
    for searches in SEARCHES if leads else ():
        name, ahead = max(((n, of[BAR][searches]) for n, of in leads.items()), key=lambda pair: pair[1].estimate)
        low, high = ahead.interval
        verdict = "is ahead of" if low > 0 else "is not surely ahead of" if high > 0 else "is behind"
        yield (
            f"Of proxies that {searches} search{'es share' if searches > 1 else ' pays for'}, {name} {verdict} early"
            f" stopping at equal total cost ({ahead.seconds:.1f} s): {ahead.estimate:+.2f} [{low:+.2f}, {high:+.2f}]"
            " over the top 20 %."
        )
    for where, failed in (("in full", truth.failed), *((one.standing.name, _named(one, truth)) for one in ranked)):
        if failed:
            (name, why), *_ = failed.items()
            yield f"Failed {where} and ranked last: {len(failed)}, such as {name} ({why.rstrip('.')})."
    yield f"Condensing, training and measuring account for {100 * accounted:.1f} % of the wall time of the cases."


def _named(ranked: Ranked, truth: Truth) -> dict[str, str]:
    return {truth.names[i]: why for i, why in ranked.standing.failed.items()}


def _scatter(truth: Truth, ranked: Sequence[Ranked]) -> dd.Plot:
    """A panel for each proxy, at the length that ranks best over the top; the truly best are marked."""
    best: dict[str, Ranked] = {}
    for one in ranked:
        held = best.setdefault(one.standing.label, one)
        best[one.standing.label] = max(held, one, key=lambda each: each.estimates[BAR])
    order = np.argsort(-truth.mean, kind="stable")
    marked, others = np.split(order, [best_of(MARKED, len(order))])
    panels = []
    for one in best.values():
        scores = one.standing.scores.mean(0)
        lines = [
            dd.Line("others", truth.mean[others].tolist(), scores[others].tolist(), joined=False),
            dd.Line("truly best 20 %", truth.mean[marked].tolist(), scores[marked].tolist(), joined=False),
        ]
        rho = float(spearman(one.standing.scores, truth.mean).mean())
        panels.append(dd.Panel(lines, f"{one.standing.name} ({rho:.2f}; top {one.estimates[BAR]:.2f})"))
    rows = [panels[i : i + 3] for i in range(0, len(panels), 3)]
    return dd.Plot("scatter", "accuracy on the proxy (%)", "accuracy after full training (%)", rows, shared=False)


def _costs(name: str, title: str, ranked: Sequence[Ranked], statistic: str) -> dd.Plot:
    """A panel for each number of searches that share a proxy: the statistic against the seconds of one search."""
    row = []
    for searches in SEARCHES:
        lines = []
        for label in dict.fromkeys(one.standing.label for one in ranked):
            own = sorted((o for o in ranked if o.standing.label == label), key=lambda o: o.standing.search)
            seconds = [one.standing.seconds(searches) for one in own]
            values = [one.estimates[statistic] for one in own]
            lines.append(dd.Line(label, values, seconds, reference=own[0].standing.early))
        row.append(dd.Panel(lines, f"a proxy for {searches} search{'es' if searches > 1 else ''}", "x"))
    return dd.Plot(name, "seconds of a search, with its share of condensing", title, [row])
