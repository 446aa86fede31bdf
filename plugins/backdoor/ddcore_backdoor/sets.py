"""Defences that look at the items of a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from torch import Tensor

from ddcore import plugin as dd
from ddcore_backdoor.suspect import Defence, Suspect, Verdict, anomalies

STARTS: dict[str, Any] = {"n_init": 10}
"""What KMeans takes and its annotations do not know."""
FEWEST = 4
"""Items of a class below which nothing is said of it."""


@dataclass(frozen=True)
class ActivationClustering(Defence):
    """The features of each class fall into two clusters; a small one that stands apart is taken for the poison.

    A class is accused where the smaller cluster holds less than ``size`` of it and the silhouette score is above
    ``silhouette``.

    **Reference**: Chen et al., Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering, 2018.

    **Differs**: principal components in the place of independent ones, which a handful of items does not determine.
    """

    dimensions: dd.Count = 10
    """Components that are clustered, as far as there are items. Published: 10."""
    size: dd.OpenShare = 0.35
    """Share of the class below which a cluster is small."""
    silhouette: dd.Share = 0.1
    """Silhouette score above which two clusters are two. Published: 0.10 to 0.15."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        features, accused, items = suspect.features(suspect.inputs), [], torch.zeros(len(suspect.inputs)).bool()
        for c in range(suspect.classes):
            rows = (suspect.targets == c).nonzero().flatten().cpu()
            if len(rows) < FEWEST:
                continue
            small, score = self.clusters(features[rows].cpu(), int(torch.randint(2**31, (), generator=rng["kmeans"])))
            if small.float().mean() < self.size and score > self.silhouette:
                accused.append(c)
                items[rows[small]] = True
        return Verdict(tuple(accused), items)

    def clusters(self, features: Tensor, seed: int) -> tuple[Tensor, float]:
        """Which of the items with ``features`` (n, d) are in the smaller cluster (n,), and the silhouette score."""
        most = min(self.dimensions, len(features) - 1, features.shape[1])
        reduced = PCA(most, random_state=seed).fit_transform(features.double().numpy())
        found = torch.from_numpy(KMeans(2, random_state=seed, **STARTS).fit_predict(reduced))
        if len(found.unique()) < 2:
            return torch.zeros(len(features)).bool(), 0.0
        return found == found.bincount().argmin(), float(silhouette_score(reduced, found.numpy()))


@dataclass(frozen=True)
class SpectralSignatures(Defence):
    """The features of a poisoned class vary along one direction; what lies far out along it is taken for the poison.

    An item's score is the square of its centred feature's product with the first right singular vector of its class.
    In an accused class the 1.5 * ``share`` with the largest scores are taken for poisoned.

    **Reference**: Tran, Li and Madry, Spectral Signatures in Backdoor Attacks, NeurIPS 2018, Algorithm 1.

    **Differs**: the paper takes items from every class; a class is accused here where the variance along its direction
    is an outlier among those of the classes.
    """

    share: dd.OpenShare = 0.1
    """Share of a class that is expected to be poisoned at most."""
    threshold: dd.Positive = 2.0
    """Deviations above the median of the classes at which one is accused."""

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        features = suspect.features(suspect.inputs).double()
        items = torch.zeros(len(features)).bool()
        rows = [(suspect.targets == c).nonzero().flatten() for c in range(suspect.classes)]
        enough = [c for c in range(suspect.classes) if len(rows[c]) >= FEWEST]
        if not enough:
            return Verdict((), items)
        scores = {c: signatures(features[rows[c]]) for c in enough}
        apart = anomalies(torch.stack([scores[c].mean() for c in enough]))
        accused = [c for c, index in zip(enough, apart.tolist(), strict=True) if index > self.threshold]
        for c in accused:
            most = max(1, round(1.5 * self.share * len(rows[c])))
            items[rows[c][scores[c].topk(min(most, len(rows[c]))).indices].cpu()] = True
        return Verdict(tuple(accused), items)


def signatures(features: Tensor) -> Tensor:
    """(n,): the squared product of each centred feature (n, d) with the first right singular vector of all."""
    centred = features - features.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ directions[0]).square()
