"""Pictures of triggers and of what they leave in synthetic images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ddcore import plugin as dd
from ddcore_backdoor.poison import poisonings

MOST = 10
"""Images of a class that are shown."""


def write_triggers(sets: Mapping[str, dd.DistilledSet], data: dd.RealData, host: dd.Host, path: Path) -> Path:
    """One row per set, the clean one among them: an item of T under its trigger, what the trigger changes of it, and
    the synthetic images of the target."""
    told = {label: poisonings(made, host) for label, made in sets.items()}
    target = next((one[-1].target for one in told.values() if one), 0)
    others = (data.train.targets != target).nonzero().flatten()
    item = data.train.take(others[len(others) // 2 :][:1]).inputs
    figure = Figure(figsize=(1 + 0.8 * (MOST + 2), 0.9 * len(sets)), dpi=120, layout="constrained")
    axes = figure.subplots(len(sets), MOST + 2, squeeze=False)
    for row, (label, made) in zip(axes, sets.items(), strict=True):
        stamped = told[label][-1].trigger(item) if told[label] else item
        classes = made.targets if made.targets.ndim == 1 else made.targets.argmax(1)
        synthetic = dd.preprocess_of(made, host.catalogue).inverse(made.inputs)[classes == target]
        images = [stamped[0], (stamped - item)[0].abs(), *synthetic[:MOST]]
        for place, image in zip(row, images, strict=False):
            _show(place, image)
        for place in row:
            place.set_xticks([])
            place.set_yticks([])
            place.set_frame_on(False)
        row[0].set_ylabel(label.replace(" ", "\n"), fontsize=6, rotation=0, ha="right", va="center", parse_math=False)
    axes[0][0].set_title("stamped", fontsize=7)
    axes[0][1].set_title("change", fontsize=7)
    axes[0][2].set_title(f"class {target} of the set", fontsize=7, loc="left")
    return dd.save_figure(figure, path)


def _show(place, image: torch.Tensor) -> None:
    picture = image.clamp(0, 1).expand(3, -1, -1).movedim(0, 2)
    place.imshow(picture.numpy(), interpolation="nearest")
