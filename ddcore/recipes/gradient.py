"""Methods that match gradients."""

from bisect import bisect_left
from dataclasses import replace

from ddcore.augment import Siamese
from ddcore.carriers.pixels import Pixels
from ddcore.objectives.gradient import GradientMatch
from ddcore.policies.trained import TrainedOnSynthetic
from ddcore.recipe import Recipe, Update, method
from ddcore.types import Citation

DC = Citation(
    "zhao2021dc",
    "Zhao, Bo and Mopuri, Konda Reddy and Bilen, Hakan",
    "Dataset Condensation with Gradient Matching",
    "International Conference on Learning Representations",
    2021,
)
DSA = Citation(
    "zhao2021dsa",
    "Zhao, Bo and Bilen, Hakan",
    "Dataset Condensation with Differentiable Siamese Augmentation",
    "International Conference on Machine Learning",
    2021,
)

LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""DC's published loop lengths by ipc: matching steps a network, epochs on S between two of them."""


def loop_lengths(ipc: int) -> tuple[int, int]:
    """DC's loop lengths at any ``ipc``: linear between the published ones, the last one's beyond 50."""
    known = sorted(LOOPS)
    if ipc >= known[-1]:
        return LOOPS[known[-1]]
    right = known[bisect_left(known, ipc)]
    left = max((k for k in known if k <= ipc), default=right)
    share = (ipc - left) / (right - left) if right > left else 0.0
    rounds, epochs = (round(a + share * (b - a)) for a, b in zip(LOOPS[left], LOOPS[right], strict=True))
    return rounds, epochs


@method(DC)
def dc(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Gradient matching: min_S sum_c sum_l sum_o 1 - cos( dl(S_c)/dw_lo, dl(T_c)/dw_lo ).

    o runs over the output filters of layer l; the networks are trained on S between matching steps (Zhao,
    Mopuri and Bilen, ICLR 2021, Algorithm 1). Defaults from the authors' code: start from noise, 256 items of
    T a class, S by SGD with momentum 0.5, networks by SGD at 0.01; loop lengths by ipc.

    Differs: any ipc runs, with loop lengths interpolated. ``iterations`` counts matching steps. 300 of them, at a
    rate that falls from 0.3 along a cosine to zero, suit a small machine; the published runs take 1 000 times the
    rounds of a network (1 000 at ipc 1, 10 000 at ipc 10) at 0.1 (``update.lr.inputs=0.1``,
    ``update.schedule=constant``). At ipc 1 a network serves one step and is never trained, as published.
    """
    rounds, epochs = loop_lengths(ipc)
    return Recipe(
        "dc",
        synthetic=Pixels(ipc, init="noise"),
        objective=GradientMatch(real=256),
        policy=TrainedOnSynthetic(rounds, epochs),
        update=Update(lr={"inputs": 0.3}, momentum=0.5, schedule="cosine"),
        iterations=iterations,
    )


@method(DSA)
def dsa(ipc: int = 1, iterations: int = 300) -> Recipe:
    """DC with differentiable siamese augmentation: gradients are taken on A(S_c) and A(T_c), one A for both.

    A is drawn a class and step from colour, crop, cutout, flip, scale and rotation (Zhao and Bilen, ICML 2021,
    Eq. 8); images of digits are not flipped. Defaults as DC's, from a real start.

    Differs: as DC.
    """
    plain = dc(ipc, iterations)
    return replace(plain, name="dsa", synthetic=Pixels(ipc, init="real"), augment=Siamese())
