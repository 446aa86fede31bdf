"""A method: a recipe with a name."""

from __future__ import annotations

from dataclasses import replace

from ddcore import plugin as dd

PAPER = dd.Citation(
    "zhao2023dm",
    "Zhao, Bo and Bilen, Hakan",
    "Dataset Condensation with Distribution Matching",
    "IEEE/CVF Winter Conference on Applications of Computer Vision",
    2023,
)


@dd.method(PAPER)
def plain(ipc: int = 1, iterations: int = 1000) -> dd.Recipe:
    """DM without augmentation.

    L = sum_c || mean f(T_c) - mean f(S_c) ||^2 over the features f of a new network at each step, Zhao and Bilen
    (WACV 2023), equation 4.

    **Differs**: no augmentation; 1000 iterations.
    """
    return replace(dd.recipe("dm", ipc=ipc, iterations=iterations), name="plain", augment=None)
