"""Which nodes of a class are picked."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


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


def clusters(points: Tensor, n: int, generator: Generator) -> Tensor:
    """The centres (n, d) of ``n`` clusters of ``points`` (m, d), by k-means from random ones of them."""
    centres = points[torch.randperm(len(points), generator=generator)[:n].to(points.device)].clone()
    for _ in range(50):
        owner = torch.cdist(points, centres).argmin(1)
        counts = torch.bincount(owner, minlength=n)
        there = counts > 0
        found = torch.zeros_like(centres).index_add(0, owner, points)[there] / counts[there, None]
        if torch.equal(found, centres[there]):
            break
        centres[there] = found
    return centres
