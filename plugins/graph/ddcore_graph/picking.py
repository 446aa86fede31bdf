"""Means that stand for the nodes of a class."""

from __future__ import annotations

import torch
from torch import Tensor


def centres(points: Tensor, n: int) -> Tensor:
    """The means (n, d) of ``n`` groups of ``points`` (m, d), of as many points each, give or take one.

    Points are halved along the direction in which they vary most, and each half again: their order is their own, so
    nothing is drawn. The mean of the centres is that of the points, wherever n divides m.
    """
    if n == 1:
        return points.mean(0, keepdim=True)
    apart = points - points.mean(0)
    *_, directions = torch.linalg.svd(apart, full_matrices=False)
    order = (apart @ directions[0]).argsort(stable=True)
    half = n // 2
    cut = round(len(points) * half / n)
    return torch.cat([centres(points[order[:cut]], half), centres(points[order[cut:]], n - half)])
