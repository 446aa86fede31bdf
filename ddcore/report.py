"""What a person looks at: the images, a report, and runs side by side."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from matplotlib.figure import Figure

from ddcore.artefact import DistilledSet, replaced_whole, write_whole
from ddcore.errors import DdcoreError
from ddcore.preprocess import Fitted

MOST_COLUMNS = 20
"""Images of a class that the picture shows at most."""


def write_images(distilled: DistilledSet, preprocess: Fitted, path: Path) -> Path | None:
    """A picture of the images in their true colours, a row a class; None for data that are no images."""
    images = preprocess.inverse(distilled.inputs).clamp(0, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None
    classes = distilled.targets if distilled.targets.ndim == 1 else distilled.targets.argmax(1)
    rows = [images[classes == c][:MOST_COLUMNS] for c in range(distilled.data.classes)]
    columns = max(len(row) for row in rows)
    channels, height, width = images.shape[1:]
    canvas = torch.ones(channels, len(rows) * (height + 1) + 1, columns * (width + 1) + 1)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + 1) + 1, c * (width + 1) + 1
            canvas[:, top : top + height, left : left + width] = image
    names = distilled.data.class_names or tuple(map(str, range(len(rows))))
    zoom = max(1, math.ceil(48 / height))
    margin = 0.09 * max(map(len, names)) + 0.2
    inches = (canvas.shape[2] * zoom / 100 + margin, canvas.shape[1] * zoom / 100)
    figure = Figure(figsize=inches, dpi=100)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1))
    picture = canvas.expand(3, -1, -1).movedim(0, 2).numpy()
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_yticks([r * (height + 1) + 0.5 + height / 2 for r in range(len(rows))], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))


def _score(score: Mapping[str, Any]) -> str:
    return f"{score['mean']:.1f} ± {score['std']:.1f}"


def _bytes(count: float) -> str:
    return f"{count:,.0f}".replace(",", " ")


def results(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The accuracies of one run as a table: its head and its rows, the distilled set first."""
    networks = list(metrics["accuracy"])
    sets = {f"{metrics['method']} (distilled)": metrics["accuracy"], **metrics["baselines"]}
    return ["set", *networks], [[name, *(_score(scores[n]) for n in networks)] for name, scores in sets.items()]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_report(metrics: Mapping[str, Any], path: Path) -> Path:
    """The report of one run, in Markdown."""
    repeats = metrics["protocol"]["repeats"]
    settings = {
        "network": metrics["network"],
        "images per class": str(metrics["ipc"]),
        "steps": str(metrics["steps"]),
        "seed": str(metrics["seed"]),
        "stored bytes": _bytes(metrics["bytes"]),
        "seconds": f"{metrics['seconds']['distilling']} distilling, {metrics['seconds']['evaluating']} evaluating",
        "peak memory": f"{metrics['peak_mib']} MiB",
        "versions": ", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
    }
    settings |= {
        name: str(value) for name, value in metrics["facts"].items() if name not in ("seed", "steps", "seconds")
    }
    protocol = {name: json.dumps(value) for name, value in metrics["protocol"].items()}
    picture = "![The synthetic images, a row a class](images.png)\n\n" if (path.parent / "images.png").exists() else ""
    text = (
        f"# {metrics['method']} on {metrics['data']}, {metrics['ipc']} per class\n\n"
        f"Test accuracy in percent, mean ± standard deviation over {repeats} fresh networks, all sets under one"
        " protocol:\n\n"
        f"{markdown_table(*results(metrics))}\n"
        "The deviation is over networks, for this one distillation; `ddcore compare` sets it beside that over"
        " seeds.\n\n"
        f"{picture}"
        f"## Settings\n\n{markdown_table(['what', 'value'], settings.items())}\n"
        f"## Protocol\n\n{markdown_table(['field', 'value'], protocol.items())}\n"
        "A distilled set is not private by itself: unless a certificate stands above, nothing bounds what it tells"
        " about single items of the real set.\n\n"
        "## Cite\n\n```bibtex\n" + "\n".join(metrics["cites"]) + "```\n"
    )
    return write_whole(path, text.encode())


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone, or a baseline of theirs."""

    method: str
    data: str
    ipc: int
    protocol: str
    network: str
    accuracy: float
    std_nets: float
    """Deviation over the networks of one evaluation, the mean of the runs'."""
    std_seeds: float | None
    """Deviation of the runs' means over their seeds; None for a single run."""
    seeds: int
    bytes: int | None
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    rows: list[Row]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as text; the protocol is a column only where there are several."""
        several = len({row.protocol for row in self.rows}) > 1
        head = ["method", "data", "ipc", "network", "accuracy ± nets", "± seeds (n)", "bytes", "seconds"]
        return [*head, *["protocol"] * several], [
            [
                *(row.method, row.data, str(row.ipc), row.network, f"{row.accuracy:.1f} ± {row.std_nets:.1f}"),
                "-" if row.std_seeds is None else f"{row.std_seeds:.1f} ({row.seeds})",
                "-" if row.bytes is None else _bytes(row.bytes),
                "-" if row.seconds is None else f"{row.seconds:.1f}",
                *[row.protocol] * several,
            ]
            for row in self.rows
        ]

    def markdown(self) -> str:
        """The table with how it was measured below."""
        protocols = ", or ".join(sorted({row.protocol for row in self.rows}))
        return markdown_table(*self.table()) + (
            f"\nTest accuracy in percent ({protocols}): mean, deviation over networks, deviation over seeds (runs).\n"
        )

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()

    def plot(self, path: Path) -> Path:
        """Accuracy against stored bytes, a line a method and a panel for each data set and network."""
        panels = sorted({(row.data, row.network, row.protocol) for row in self.rows})
        figure = Figure(figsize=(6.4, 4.4 * len(panels)), dpi=120, layout="constrained")
        for axes, (data, network, protocol) in zip(
            figure.subplots(len(panels), squeeze=False).flat, panels, strict=True
        ):
            shown = [row for row in self.rows if (row.data, row.network, row.protocol) == (data, network, protocol)]
            for method in dict.fromkeys(row.method for row in shown):
                points = sorted((row for row in shown if row.method == method), key=lambda row: row.bytes or 0)
                if method == "whole":
                    axes.axhline(points[0].accuracy, linestyle="--", color="0.4", label="whole")
                    continue
                axes.errorbar(
                    [row.bytes or 0 for row in points],
                    [row.accuracy for row in points],
                    [row.std_nets if row.std_seeds is None else row.std_seeds for row in points],
                    marker="o",
                    capsize=3,
                    linestyle=":" if method in ("random", "herding") else "-",
                    label=method,
                )
            axes.set_xscale("log")
            axes.set(xlabel="stored bytes", ylabel="test accuracy (%)", title=f"{data}, {network} ({protocol})")
            axes.grid(alpha=0.3)
            axes.legend()
        return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))


def compare(folders: Iterable[str | Path]) -> Comparison:
    """The runs in ``folders`` side by side; those that differ by their seed alone are one row.

    Raises:
        DdcoreError: a folder without metrics, or with damaged ones.
    """
    runs = [_metrics(Path(folder)) for folder in folders]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        alike = (run["method"], run["data"], run["ipc"], run["network"], run["protocol"], run["steps"], run["bytes"])
        groups[tuple(json.dumps(value, sort_keys=True) for value in alike)].append(run)
    rows = {}
    for alike in groups.values():
        for network in alike[0]["accuracy"]:
            found = {alike[0]["method"]: [run["accuracy"][network] for run in alike]}
            for name in alike[0]["baselines"]:
                found[name] = [run["baselines"][name][network] for run in alike if name in run["baselines"]]
            for name, scores in found.items():
                own = name == alike[0]["method"]
                row = _row(name, network, alike, scores, own)
                rows.setdefault(
                    (row.data, row.ipc, row.protocol, row.network, name, row.bytes, own and row.seconds), row
                )
    return Comparison(sorted(rows.values(), key=lambda r: (r.data, r.network, r.ipc, r.protocol, -r.accuracy)))


def _row(name: str, network: str, runs: list[dict[str, Any]], scores: list[dict[str, Any]], own: bool) -> Row:
    first = runs[0]
    means = [score["mean"] for score in scores]
    return Row(
        method=name,
        data=first["data"],
        ipc=first["ipc"],
        protocol=_protocol(first["protocol"]),
        network=network,
        accuracy=fmean(means),
        std_nets=fmean(score["std"] for score in scores),
        std_seeds=stdev(means) if len(means) > 1 else None,
        seeds=len(means),
        bytes=None if name == "whole" else first["bytes"],
        seconds=fmean(run["seconds"]["distilling"] for run in runs) if own else None,
    )


def _protocol(table: Mapping[str, Any]) -> str:
    length = f"{table['epochs']} epochs" if "epochs" in table else f"{table['steps']} steps"
    return f"{table['optimiser']} {length}, {table['repeats']} nets"


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    if not path.exists():
        raise DdcoreError(f"{folder} holds no finished experiment (there is no metrics.json). Is it still running?")
    try:
        found = json.loads(path.read_text())
        missing = {"method", "data", "ipc", "network", "accuracy", "baselines", "bytes", "seconds", "protocol", "steps"}
        missing -= found.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (ValueError, AttributeError) as error:
        raise DdcoreError(f"{path} is damaged: {error}.") from error
    return found
