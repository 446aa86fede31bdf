"""The detectors of the adversarial-robustness-toolbox, as it has them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast

import numpy as np
import torch

from ddcore import plugin as dd
from ddcore_backdoor.suspect import Defence, Suspect, Verdict

SMALL = 0.35
"""Share of a class below which the toolbox calls a cluster small."""


@dataclass(frozen=True)
class Toolbox(Defence):
    """A detector of the adversarial-robustness-toolbox on the features of the set's items.

    ``activation_clustering`` accuses a class whose smaller cluster holds less than 0.35 of it;
    ``spectral_signatures`` takes 1.5 ``share`` of every class, so that it accuses all of them.

    **Differs**: the sizes of its clusters are compared here, since in 1.20 its own comparison fails under numpy 2, and
    that by silhouettes marks nothing. Its signatures multiply features that are not centred.
    """

    detector: Literal["activation_clustering", "spectral_signatures"] = "activation_clustering"
    """Which one."""
    share: dd.OpenShare = 0.1
    """Share of a class that is expected to be poisoned."""

    def ready(self) -> None:
        if find_spec("art") is None:
            raise dd.RecipeRefused(
                "The defence toolbox needs the adversarial-robustness-toolbox: pip install ddcore-backdoor[art]."
            )

    def examine(self, suspect: Suspect, rng: dd.Streams) -> Verdict:
        from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense

        y, x = suspect.targets.cpu().numpy(), cast(Any, suspect.inputs)
        shown = cast(Any, Shown(suspect))
        fewest = int(suspect.targets.bincount(minlength=suspect.classes).min())
        if self.detector == "spectral_signatures":
            _, clean = SpectralSignatureDefense(shown, x, y, expected_pp_poison=self.share).detect_poison()
        elif fewest < 2:
            return Verdict(())
        else:
            before = np.random.get_state()  # its clusters know only the global generator
            np.random.seed(int(torch.randint(2**31, (), generator=rng["toolbox"])))
            detector = ActivationDefence(shown, x, np.eye(suspect.classes)[y])
            dimensions = min(10, fewest, shown.features.shape[1])
            clusters, _ = detector.cluster_activations(nb_clusters=2, nb_dims=dimensions, reduce="PCA")
            np.random.set_state(before)
            clean = in_large_clusters(clusters, y)
        items = torch.from_numpy(~np.asarray(clean, dtype=bool))
        accused = suspect.targets.cpu()[items].unique().tolist()
        return Verdict(tuple(accused), items)


def in_large_clusters(clusters: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Which items (n,) of the classes ``y`` (n,) are in no cluster of less than ``SMALL`` of their class."""
    clean = np.ones(len(y), dtype=bool)
    for c, found in enumerate(clusters):
        counts = np.bincount(found, minlength=2)
        if counts.min() / counts.sum() < SMALL:
            clean[np.flatnonzero(y == c)[found == counts.argmin()]] = False
    return clean


class Shown:
    """What the toolbox asks of a classifier: the activations of one layer."""

    layer_names = ("features",)

    def __init__(self, suspect: Suspect) -> None:
        self.nb_classes = suspect.classes
        self.features = suspect.features(suspect.inputs).cpu().numpy()

    def get_activations(self, x: Any, layer: int, batch_size: int) -> np.ndarray:
        return self.features
