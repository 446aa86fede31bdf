"""Saved figures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ddcore.files import replaced_whole

MARKERS = "osD^vPX*h<>"
"""Markers in turn, one for each line."""


def save_figure(figure: Figure, path: Path) -> Path:
    """Write ``figure`` as PNG at ``path``, whole or not at all."""
    return replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))
