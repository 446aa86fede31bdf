"""Which items are picked: herding, centres and medoids of clusters."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def in_turn(values: Tensor, n: int) -> Tensor:
    """The first ``n`` rows of ``values`` (m, ...), which begin again where they end."""
    return values[torch.arange(n, device=values.device) % len(values)]


def herd(features: Tensor, mean: Tensor, n: int) -> Tensor:
    """The ``n`` rows of ``features`` (m, d) that herding towards ``mean`` (d,) takes, in its order.

    Row t+1 minimises ``|| mean - (sum of the first t + row) / (t + 1) ||``; no row is taken twice.
    """
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    taken = []
    for t in range(n):
        distance = ((total + features) / (t + 1) - mean).square().sum(1)
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total = total + features[best]
        taken.append(best)
    return torch.tensor(taken, device=features.device)


def farthest(features: Tensor, n: int) -> Tensor:
    """The ``n`` rows of ``features`` (m, d) that greedy k-center takes: the nearest to the mean, and then each time the
    farthest from its nearest among those taken."""
    taken = [int((features - features.mean(0)).square().sum(1).argmin())]
    nearest = torch.full((len(features),), torch.inf, device=features.device)
    while len(taken) < n:
        nearest = torch.minimum(nearest, (features - features[taken[-1]]).square().sum(1))
        nearest[taken[-1]] = -torch.inf
        taken.append(int(nearest.argmax()))
    return torch.tensor(taken, device=features.device)


def cluster_centres(points: Tensor, n: int, generator: Generator) -> Tensor:
    """The centres (n, d) of ``n`` clusters of ``points`` (m, d), by k-means."""
    from sklearn.cluster import KMeans

    seed = int(torch.randint(2**31, (), generator=generator))
    clusters = KMeans(n, n_init="auto", random_state=seed).fit(points.cpu().numpy())
    return torch.from_numpy(clusters.cluster_centers_).to(points)


def medoids(points: Tensor, n: int, generator: Generator) -> Tensor:
    """The rows (n,) of the medoids of ``n`` clusters of ``points`` (m, d); m x m distances are held at once."""
    distance = torch.cdist(points, points)
    rows = torch.randperm(len(points), generator=generator)[:n].to(points.device)
    for _ in range(100):
        nearest = distance[:, rows].argmin(1)
        nearest[rows] = torch.arange(n, device=points.device)
        inner = distance.masked_fill(nearest[:, None] != nearest, 0).sum(1)
        found = torch.stack([inner.masked_fill(nearest != i, torch.inf).argmin() for i in range(n)])
        if torch.equal(found, rows):
            break
        rows = found
    return rows
