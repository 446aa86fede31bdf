"""The picture of a distilled set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.plots import save_figure
from ddcore.preprocess import Fitted

MOST_COLUMNS = 20
"""The most images of a class that the picture shows."""
MOST_HEIGHT = 16384
"""The picture's largest height in pixels: it shows as many classes as fit."""


def write_images(distilled: DistilledSet, preprocess: Fitted, path: Path) -> Path | None:
    """A picture of the images in their true colours, one row per class; None for data that are not images."""
    images = preprocess.inverse(distilled.inputs).clamp(0, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None
    classes = distilled.targets if distilled.targets.ndim == 1 else distilled.targets.argmax(1)
    height = images.shape[2]
    shown = min(distilled.data.classes, max(1, MOST_HEIGHT // (_zoom(height) * (height + 1))))
    names = distilled.data.class_names[:shown] or tuple(map(str, range(shown)))
    return write_rows([(names[c], images[classes == c][:MOST_COLUMNS]) for c in range(shown)], path)


def write_rows(named: Sequence[tuple[str, Tensor]], path: Path) -> Path:
    """A picture of images (n, c, h, w) with values from 0 to 1, of one channel or three, a row for each name."""
    names, rows = zip(*named, strict=True)
    channels, height, width = rows[0].shape[1:]
    zoom = _zoom(height)
    columns = max(len(row) for row in rows)
    canvas = torch.ones(channels, len(rows) * (height + 1) + 1, columns * (width + 1) + 1)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + 1) + 1, c * (width + 1) + 1
            canvas[:, top : top + height, left : left + width] = image
    margin = 0.09 * max(map(len, names)) + 0.2
    inches = (canvas.shape[2] * zoom / 100 + margin, canvas.shape[1] * zoom / 100)
    figure = Figure(figsize=inches, dpi=100)
    axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1))
    picture = canvas.expand(3, -1, -1).movedim(0, 2).numpy()
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_yticks([r * (height + 1) + 0.5 + height / 2 for r in range(len(rows))], names, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return save_figure(figure, path)


def _zoom(height: int) -> int:
    """By how much images of so many rows are enlarged."""
    return max(1, math.ceil(48 / height))
