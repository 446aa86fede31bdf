"""Which nodes of a class are picked."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest(points: Tensor, n: int) -> Tensor:
    """``n`` rows of ``points`` (m, d) that cover them: first the one nearest the mean, then each time the farthest from
    those taken (k-center, greedily)."""
    taken = [int((points - points.mean(0)).square().sum(1).argmin())]
    apart = (points - points[taken[0]]).square().sum(1)
    while len(taken) < n:
        taken.append(int(apart.argmax()))
        apart = apart.minimum((points - points[taken[-1]]).square().sum(1))
        apart[taken] = -1
    return torch.tensor(taken, device=points.device)


def herd(points: Tensor, n: int) -> Tensor:
    """``n`` rows of ``points`` (m, d), each time the one that brings the mean of those taken nearest to that of all."""
    taken: list[int] = []
    total = torch.zeros_like(points[0])
    for t in range(n):
        apart = ((total + points) / (t + 1) - points.mean(0)).square().sum(1)
        apart[taken] = torch.inf
        taken.append(int(apart.argmin()))
        total = total + points[taken[-1]]
    return torch.tensor(taken, device=points.device)


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
