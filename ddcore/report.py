"""What a person looks at: the images, a report, and runs side by side."""

from __future__ import annotations

import csv
import io
import json
import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from pydantic import BaseModel, Field, ValidationError, model_validator

from ddcore.artefact import DistilledSet
from ddcore.errors import DdcoreError
from ddcore.files import replaced_whole, write_whole
from ddcore.parts import dotted
from ddcore.preprocess import Fitted

MOST_COLUMNS = 20
"""Images of a class that the picture shows at most."""

MARKERS = "osD^vPX"
"""By turns, each for as many lines as there are colours."""
BARS = "bars: deviation over seeds, or over networks where there is a single run"

MOST_HEIGHT = 16384
"""Pixels from top to bottom that the picture has at most: it shows as many classes as go into that."""


def write_images(distilled: DistilledSet, preprocess: Fitted, path: Path) -> Path | None:
    """A picture of the images in their true colours, a row a class; None for data that are no images."""
    images = preprocess.inverse(distilled.inputs).clamp(0, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None
    classes = distilled.targets if distilled.targets.ndim == 1 else distilled.targets.argmax(1)
    channels, height, width = images.shape[1:]
    zoom = max(1, math.ceil(48 / height))
    shown = min(distilled.data.classes, max(1, MOST_HEIGHT // (zoom * (height + 1))))
    rows = [images[classes == c][:MOST_COLUMNS] for c in range(shown)]
    columns = max(len(row) for row in rows)
    canvas = torch.ones(channels, len(rows) * (height + 1) + 1, columns * (width + 1) + 1)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + 1) + 1, c * (width + 1) + 1
            canvas[:, top : top + height, left : left + width] = image
    names = distilled.data.class_names[:shown] or tuple(map(str, range(shown)))
    margin = 0.09 * max(map(len, names)) + 0.2
    inches = (canvas.shape[2] * zoom / 100 + margin, canvas.shape[1] * zoom / 100)
    figure = Figure(figsize=inches, dpi=100)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1))
    picture = canvas.expand(3, -1, -1).movedim(0, 2).numpy()
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_yticks([r * (height + 1) + 0.5 + height / 2 for r in range(shown)], names, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))


def _score(score: Mapping[str, Any]) -> str:
    return plus_minus(score["mean"], score["std"], len(score["values"]))


def plus_minus(mean: float, std: float | None, n: int = 2, *, digits: int = 1, scale: float = 1.0) -> str:
    """``scale`` times a mean and its deviation, "-" where there is none or it is of one value."""
    deviation = "-" if std is None or n == 1 else f"{scale * std:.{digits}f}"
    return f"{scale * mean:.{digits}f} ± {deviation}"


def _bytes(count: float) -> str:
    return f"{count:,.0f}".replace(",", " ")


def _certified(facts: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in facts.items():
        text = f"{value:.6g}" if isinstance(value, float) else value
        yield [name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(text)]


def results(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The accuracies of one run as a table: its head and its rows, the distilled set first."""
    networks = list(metrics["accuracy"])
    sets = {f"{metrics['method']} (distilled)": metrics["accuracy"], **metrics["baselines"]}
    return ["set", *networks], [[name, *(_score(scores[n]) for n in networks)] for name, scores in sets.items()]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_report(metrics: Mapping[str, Any], path: Path) -> Path:
    """The report of one run, in Markdown."""
    repeats = metrics["protocol"]["repeats"]
    nets = f"{repeats} fresh networks" if repeats > 1 else "fresh networks, here a single one"
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
    facts = {n: value for n, value in metrics["facts"].items() if n not in ("seed", "steps", "seconds")}
    settings |= {name: str(value) for name, value in facts.items() if not isinstance(value, dict)}
    certificates = "".join(
        f"## {name.capitalize()}\n\n{markdown_table(['what', 'value'], _certified(value))}\n"
        for name, value in facts.items()
        if isinstance(value, dict)
    )
    uncovered = ", ".join(metrics["uncovered"])
    protocol = {name: json.dumps(value) for name, value in metrics["protocol"].items()}
    picture = "![The synthetic images, a row a class](images.png)\n\n" if (path.parent / "images.png").exists() else ""
    text = (
        f"# {metrics['method']} on {metrics['data']}, {metrics['ipc']} per class\n\n"
        f"Test accuracy in percent, mean ± standard deviation over {nets}; all sets under one protocol:\n\n"
        f"{markdown_table(*results(metrics))}\n"
        "The deviation is over networks, for this one distillation; `ddcore compare` sets it beside that over"
        " seeds.\n\n"
        f"{picture}"
        + certificates
        + (f"Looked at the real set past its gate, so no certificate covers it: {uncovered}.\n\n" if uncovered else "")
        + f"## Settings\n\n{markdown_table(['what', 'value'], settings.items())}\n"
        f"## Protocol\n\n{markdown_table(['field', 'value'], protocol.items())}\n"
        "A distilled set is not private by itself (Carlini, Feldman and Nasr, No Free Lunch in 'Privacy for Free',"
        " 2022): unless a certificate stands above, nothing bounds what it tells about single items of the real set."
        "\n\n"
        "## Cite\n\n```bibtex\n" + "".join(f"{entry.strip()}\n" for entry in metrics["cites"]) + "```\n"
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
    std_nets: float | None
    """Deviation over the networks of one evaluation, the mean of the runs'; None for a single network."""
    std_seeds: float | None
    """Deviation of the runs' means over their seeds; None for a single run."""
    seeds: int
    bytes: int
    seconds: float | None
    setting: str = ""
    """Where runs of one method differ by more than their seeds: what is particular to these."""

    @property
    def label(self) -> str:
        return f"{self.method} ({self.setting})" if self.setting else self.method


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
                *(row.label, row.data, str(row.ipc), row.network),
                plus_minus(row.accuracy, row.std_nets),
                "-" if row.std_seeds is None else f"{row.std_seeds:.1f} ({row.seeds})",
                _bytes(row.bytes),
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
        entries = len({row.label for row in self.rows})
        figure = Figure(figsize=(8.4, max(4.4, 0.26 * entries) * len(panels)), dpi=120, layout="constrained")
        for axes, (data, network, protocol) in zip(
            figure.subplots(len(panels), squeeze=False).flat, panels, strict=True
        ):
            shown = [row for row in self.rows if (row.data, row.network, row.protocol) == (data, network, protocol)]
            for place, label in enumerate(dict.fromkeys(row.label for row in shown)):
                points = sorted((row for row in shown if row.label == label), key=lambda row: row.bytes)
                if label == "whole":
                    axes.axhline(points[0].accuracy, linestyle="--", color="0.4", label="whole")
                    continue
                axes.errorbar(
                    [row.bytes for row in points],
                    [row.accuracy for row in points],
                    [(row.std_nets if row.std_seeds is None else row.std_seeds) or 0 for row in points],
                    marker=MARKERS[place // 10 % len(MARKERS)],
                    capsize=3,
                    linestyle=":" if label in ("random", "herding") else "-",
                    label=label,
                )
            stored = [row.bytes for row in shown if row.label != "whole"] or [row.bytes for row in shown]
            if max(stored) > 3 * min(stored):
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_minor_locator(NullLocator())
            else:
                axes.locator_params(axis="x", nbins=5)
            axes.xaxis.set_major_formatter(EngFormatter("B"))
            axes.set(xlabel=f"stored\n({BARS})", ylabel="test accuracy (%)")
            axes.set_title(f"{data}, {network}\n{protocol}", fontsize="medium", parse_math=False)
            axes.grid(alpha=0.3)
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))


class _Score(BaseModel):
    mean: float
    std: float
    values: Annotated[list[float], Field(min_length=1)]


class _Seconds(BaseModel):
    distilling: float


class _Metrics(BaseModel):
    """What a comparison reads of a run's ``metrics.json``."""

    method: str
    data: str
    ipc: int
    seed: int
    network: str
    accuracy: Annotated[dict[str, _Score], Field(min_length=1)]
    baselines: dict[str, dict[str, _Score]]
    bytes: int
    baseline_bytes: dict[str, int]
    seconds: _Seconds
    protocol: dict[str, Any]
    steps: int

    @model_validator(mode="after")
    def _all_sized(self) -> _Metrics:
        if unsized := self.baselines.keys() - self.baseline_bytes.keys():
            raise ValueError(f"baseline_bytes lacks {', '.join(sorted(unsized))}")
        return self


@dataclass(frozen=True)
class _Measured:
    """One set of one run, measured with one network."""

    method: str
    data: str
    ipc: int
    network: str
    protocol: str
    """The whole of it as JSON; of its networks only this one."""
    short: str
    setting: str
    """What made the set, but for the seed, as JSON; the same for all baselines of one name."""
    seed: int
    score: _Score
    bytes: int
    seconds: float | None

    @property
    def place(self) -> tuple[str, int, str, str]:
        """What two sets must share to stand beside each other."""
        return self.data, self.ipc, self.network, self.protocol

    @property
    def curve(self) -> tuple[str, str, str, str]:
        """What two sets must share to be points of one line."""
        return self.method, self.data, self.network, self.protocol


def compare(folders: Iterable[str | Path]) -> Comparison:
    """The runs in ``folders`` side by side; those that differ by their seed alone are one row.

    A folder, or a seed, that is given twice counts once. A baseline has one row for each data set, ipc, protocol and
    network, over the seeds of all the runs that stand beside it; a run of its own of that method takes its place.

    Raises:
        DdcoreError: a folder without metrics, or with damaged ones.
    """
    own: list[_Measured] = []
    baselines: list[_Measured] = []
    for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values():
        for found in _measured(folder):
            (baselines if found.seconds is None else own).append(found)
    taken = {(found.method, *found.place) for found in own}
    baselines = [found for found in baselines if (found.method, *found.place) not in taken]
    groups: dict[tuple[Any, ...], list[_Measured]] = defaultdict(list)
    for found in (*own, *baselines):
        groups[(found.method, found.setting, *found.place)].append(found)
    firsts = [alike[0] for alike in groups.values()]
    rows = [
        _row(alike, _differing([one for one in firsts if one.curve == alike[0].curve])) for alike in groups.values()
    ]
    return Comparison(sorted(rows, key=lambda r: (r.data, r.network, r.ipc, r.protocol, -r.accuracy)))


def _differing(curve: list[_Measured]) -> set[str]:
    """The fields in which sets of one curve differ although they have the same ipc."""
    settings = [(one.ipc, json.loads(one.setting)) for one in curve]
    return {
        path
        for ipc, mine in settings
        for path in mine
        if any(other.get(path) != mine[path] for its, other in settings if its == ipc)
    }


def _row(found: list[_Measured], differing: set[str]) -> Row:
    """One row of the sets ``found``, which differ by their seed; it tells the fields ``differing``."""
    runs = list({one.seed: one for one in found}.values())
    first = runs[0]
    means = [one.score.mean for one in runs]
    deviations = [one.score.std for one in runs if len(one.score.values) > 1]
    seconds = [one.seconds for one in runs if one.seconds is not None]
    setting = json.loads(first.setting)
    return Row(
        method=first.method,
        data=first.data,
        ipc=first.ipc,
        protocol=first.short,
        network=first.network,
        accuracy=fmean(means),
        std_nets=fmean(deviations) if deviations else None,
        std_seeds=stdev(means) if len(means) > 1 else None,
        seeds=len(means),
        bytes=first.bytes,
        seconds=fmean(seconds) if seconds else None,
        setting=", ".join(f"{path}={_text(setting[path])}" for path in setting if path in differing),
    )


def _measured(folder: Path) -> Iterator[_Measured]:
    """Each set of the run in ``folder`` with each network."""
    run = _metrics(folder)
    setting = json.dumps({**_setting(folder, run), "steps": run.steps}, sort_keys=True)
    networks = run.protocol.get("networks", [])
    sets = [
        (run.method, run.accuracy, run.bytes, True),
        *((name, scores, run.baseline_bytes[name], False) for name, scores in run.baselines.items()),
    ]
    for name, scores, size, own in sets:
        for network, score in scores.items():
            plans = [plan for plan in networks if plan.get("name") == network]
            yield _Measured(
                method=name,
                data=run.data,
                ipc=run.ipc,
                network=network,
                protocol=json.dumps({**run.protocol, "networks": plans}, sort_keys=True),
                short=_protocol(run.protocol),
                setting=setting if own else "{}",
                seed=run.seed,
                score=score,
                bytes=size,
                seconds=run.seconds.distilling if own else None,
            )


def _setting(folder: Path, run: _Metrics) -> dict[str, Any]:
    """What made the run's set, but for its seed and its length: the fields of its recipe by dotted path."""
    path = folder / "recipe.toml"
    if not path.exists():
        return {"network": run.network}
    try:
        recipe = tomllib.loads(path.read_text())
        validation = recipe.pop("experiment", {}).get("validation")
    except (ValueError, AttributeError) as error:
        raise DdcoreError(f"{path} is damaged: {error}.") from error
    flat = dotted({**recipe, "experiment": {"validation": validation}})
    return {path: value for path, value in flat.items() if path not in ("seed", "iterations", "name")}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _protocol(table: Mapping[str, Any]) -> str:
    length = f"{table['epochs']} epochs" if "epochs" in table else f"{table.get('steps')} steps"
    augment = table.get("augment", {}).get("name", "no augmentation") + " with cutmix" * bool(table.get("cutmix"))
    rates = "learned or " * bool(table.get("learned_lr")) + "/".join(f"{rate:g}" for rate in table.get("lr", []))
    return f"{table.get('optimiser')} {length}, lr {rates}, {augment}, {table.get('repeats')} nets"


def _metrics(folder: Path) -> _Metrics:
    path = folder / "metrics.json"
    if not path.exists():
        raise DdcoreError(f"{folder} holds no finished experiment (there is no metrics.json). Is it still running?")
    try:
        return _Metrics.model_validate_json(path.read_bytes())
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()[:3])
        raise DdcoreError(f"{path} is damaged ({said}). `ddcore resume {folder}` makes it again.") from error
