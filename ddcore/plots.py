"""Saved figures: lines with error bars, said as values and drawn in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ddcore.files import replaced_whole

MARKERS = "osD^vPX*h<>"
"""Markers in turn, one for each line."""
MARKED = 60
"""Points that a line has at most to show a marker at each."""

LABELLED = 5
"""Spaces between ticks at most, where each is labelled with a unit."""
WIDTH = 40
"""Characters of a line of the legend."""


@dataclass(frozen=True)
class Line:
    """A labelled line; lines of one label look alike in all panels of a plot."""

    label: str
    y: Sequence[float]
    x: Sequence[float] | None = None
    """None for a level across the panel, of which ``y`` has the one value."""
    error: Sequence[float] | None = None
    """Half the length of the bar at each point."""
    reference: bool = False
    """Grey and dotted: something to compare the others with."""
    joined: bool = True
    """Its points are joined; else they stand by themselves, each with its marker."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    lines: Sequence[Line]
    title: str = ""
    log: Literal["", "x", "y", "xy"] = ""
    """Which axes are logarithmic."""


@dataclass(frozen=True)
class Plot:
    """Rows of panels with common axis labels and one legend."""

    name: str
    """Of its file, without the suffix."""
    x: str
    y: str
    panels: Sequence[Sequence[Panel]]
    unit: str | None = None
    """Of x, written with a prefix at the ticks: ``B`` for bytes; empty for plain numbers on a logarithmic axis too."""
    limits: tuple[float, float] | None = None
    """Of both axes, None for what the points need."""
    shared: bool = True
    """All panels have the same axes."""

    def save(self, path: Path) -> Path:
        """Draw it as PNG at ``path``, whole or not at all."""
        rows, columns = len(self.panels), max(map(len, self.panels))
        looks = _looks([line for row in self.panels for panel in row for line in panel.lines])
        told = {label: fill(label, WIDTH) for label in looks}
        lines = sum(label.count("\n") + 1 for label in told.values())
        size = (2.6 + 3.8 * columns, max(0.8 + 3.2 * rows, 0.5 + 0.2 * lines))
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        axes = figure.subplots(rows, columns, sharex=self.shared, sharey=self.shared, squeeze=False)
        named: dict[str, Any] = {}
        for row, panels in zip(axes, self.panels, strict=True):
            for place, panel in zip(row, panels, strict=False):
                self._draw(place, panel, looks)
                handles, labels = place.get_legend_handles_labels()
                named |= dict(zip(labels, handles, strict=True))
            for place in row[len(panels) :]:
                place.set_axis_off()
        figure.supxlabel(self.x, fontsize=10, parse_math=False)
        figure.supylabel(self.y, fontsize=10, parse_math=False)
        order = [label for label in looks if label in named]
        shown = [told[label] for label in order]
        legend = figure.legend([named[label] for label in order], shown, loc="outside right upper", fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return save_figure(figure, path)

    def _draw(self, axes: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
        for line in panel.lines:
            look = {**looks[line.label], "label": line.label}
            if line.x is None:
                axes.axhline(line.y[0], **{**look, "marker": "", "linestyle": ":"})
                continue
            if not line.joined:
                look["linestyle"] = "none"
            elif len(line.y) > MARKED:
                look["marker"] = ""
            axes.errorbar(line.x, line.y, line.error, markersize=5, capsize=2, **look)
        axes.set_title(panel.title, fontsize=9, parse_math=False)
        axes.grid(alpha=0.3)
        if "y" in panel.log:
            axes.set_yscale("log")
        if "x" in panel.log:
            axes.set_xscale("log")
            axes.margins(x=0.15)
            if self.unit is not None:
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_minor_locator(NullLocator())
        elif all(float(x).is_integer() for line in panel.lines for x in line.x or ()):
            most = LABELLED if self.unit else "auto"
            axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))
        if self.unit is not None:
            axes.xaxis.set_major_formatter(EngFormatter(self.unit) if self.unit else StrMethodFormatter("{x:g}"))
        if self.limits is not None:
            axes.set(xlim=self.limits, ylim=self.limits)


def _looks(lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each label."""
    references = dict.fromkeys(line.label for line in lines if line.reference)
    others = [label for label in dict.fromkeys(line.label for line in lines) if label not in references]
    looks = {label: {"color": f"C{i % 10}", "marker": MARKERS[i % len(MARKERS)]} for i, label in enumerate(others)}
    greys = ("0.6", "0.2", "0.75", "0.4")
    dotted = {
        label: {"color": greys[i % len(greys)], "marker": ".", "linestyle": ":"} for i, label in enumerate(references)
    }
    return looks | dotted


def save_figure(figure: Figure, path: Path) -> Path:
    """Write ``figure`` as PNG at ``path``, whole or not at all."""
    return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))
