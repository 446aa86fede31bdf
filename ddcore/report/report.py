"""The report of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddcore.files import write_whole
from ddcore.naming import in_line
from ddcore.report.tables import (
    NOT_PRIVATE,
    bytes_cell,
    markdown_table,
    measure_title,
    measures_of,
    results,
    stated_facts,
    warnings_of,
)


def write_report(metrics: Mapping[str, Any], path: Path) -> Path:
    """The report of one run, in Markdown."""
    repeats = metrics["protocol"]["repeats"]
    nets = f"{repeats} fresh networks" if repeats > 1 else "fresh networks, here a single one"
    settings = {
        "network": metrics["network"],
        "images per class": str(metrics["ipc"]),
        "steps": str(metrics["steps"]),
        "seed": str(metrics["seed"]),
        "stored bytes": bytes_cell(metrics["bytes"]),
        "seconds": f"{metrics['seconds']['distilling']} distilling, {metrics['seconds']['evaluating']} evaluating",
        "peak memory": f"{metrics['peak_mib']} MiB",
        "versions": ", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
    }
    facts = {n: value for n, value in metrics["facts"].items() if n not in ("seed", "steps", "seconds", "warnings")}
    if kept := metrics.get("kept"):
        settings["networks not trained again"] = f"{kept}, whose values an earlier evaluation had kept"
    single, certificates = stated_facts(facts)
    settings |= single
    warnings = "".join(f"**Warning**: {sentence}\n\n" for sentence in warnings_of(metrics))
    uncovered = ", ".join(metrics["uncovered"])
    protocol = {name: in_line(value).strip("[]") for name, value in metrics["protocol"].items() if name != "name"}
    protocol = ({"preset": metrics["preset"]} if metrics["preset"] else {}) | protocol
    measured = "; ".join(measure_title(name, measure) for name, measure in measures_of(metrics).items())
    picture = "![Synthetic images, one row per class](images.png)\n\n" if (path.parent / "images.png").exists() else ""
    notes = "".join(f"- {note}\n" for note in metrics.get("notes", ()))
    text = (
        f"# {metrics['method']} on {metrics['data']}, {metrics['ipc']} per class\n\n{warnings}"
        f"On the test split, mean ± standard deviation over {nets}; all sets under one protocol: {measured}.\n\n"
        f"{markdown_table(*results(metrics))}\n"
        "The deviation is over networks, for this one distillation; `ddcore compare` sets it beside that over"
        " seeds.\n\n"
        f"{picture}"
        + certificates
        + (f"Looked at the real set past its gate, so no certificate covers it: {uncovered}.\n\n" if uncovered else "")
        + (f"## Data\n\n{notes}\n" if notes else "")
        + f"## Settings\n\n{markdown_table(['what', 'value'], settings.items())}\n"
        f"## Protocol\n\n{markdown_table(['field', 'value'], protocol.items())}\n"
        f"{NOT_PRIVATE}\n\n"
        "## Cite\n\n```bibtex\n" + "".join(f"{entry.strip()}\n" for entry in metrics["cites"]) + "```\n"
    )
    return write_whole(path, text.encode())
