"""A picture of a condensed graph."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import ddcore
from ddcore import plugin as dd

LINKS = "adjacency"
"""The name under which a set holds its weights (n, n) of links."""
DRAWN = 400
"""Links that are drawn at most, the heaviest."""


def places(features: Tensor) -> Tensor:
    """Where nodes with ``features`` (n, d) are drawn (n, 2): along their two principal components."""
    centred = features - features.mean(0)
    if min(centred.shape) < 2:
        return torch.stack([torch.arange(len(features)).float(), torch.zeros(len(features))], 1)
    u, s, _ = torch.linalg.svd(centred.double(), full_matrices=False)
    return (u[:, :2] * s[:2]).float()


def portrait(distilled: ddcore.DistilledSet, path: Path) -> Path:
    """Draw the nodes by class, along their principal components, with their links, as PNG at ``path``."""
    at, classes = places(distilled.inputs), distilled.targets
    if classes.ndim == 2:
        classes = classes.argmax(1)
    figure = Figure(figsize=(5.5, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    if LINKS in distilled.latent:
        weights = distilled.latent[LINKS].triu(1)
        heaviest = weights.flatten().topk(min(DRAWN, weights.numel()))
        for weight, place in zip(heaviest.values.tolist(), heaviest.indices.tolist(), strict=True):
            if weight > 0:
                one, other = at[place // len(at)], at[place % len(at)]
                axes.plot(*torch.stack([one, other]).T, color="0.5", linewidth=0.6, alpha=min(1.0, weight), zorder=1)
    for c in classes.unique().tolist():
        mine = at[classes == c]
        axes.scatter(*mine.T, s=28, marker=dd.MARKERS[c % len(dd.MARKERS)], label=distilled.data.called(c), zorder=2)
    axes.set_title(f"{distilled.data.name} by {distilled.method}: {len(distilled)} nodes", parse_math=False)
    axes.legend(fontsize=7, title="class", ncols=2)
    axes.set_xticks([])
    axes.set_yticks([])
    return dd.save_figure(figure, path)
