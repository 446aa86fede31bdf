"""Methods that match gradients."""

from bisect import bisect_left
from dataclasses import replace

from ddcore.augment.siamese import Siamese
from ddcore.carriers.formation import Formation
from ddcore.carriers.pixels import Pixels
from ddcore.composition import Recipe, method
from ddcore.distance import Lp, MagnitudeAware
from ddcore.gate.fit import Fit
from ddcore.objectives.gradient import GradientMatch
from ddcore.papers import PAPERS
from ddcore.policies.early import Early
from ddcore.policies.perturbed import Perturbed
from ddcore.policies.trained import TrainedOnReal, TrainedOnSynthetic
from ddcore.schedules import Cosine
from ddcore.update import Update

DC = PAPERS["zhao2021dc"]
DSA = PAPERS["zhao2021dsa"]

DCC = PAPERS["lee2022dcc"]
IDC = PAPERS["kim2022idc"]
JIANG = PAPERS["jiang2022delving"]
ACCDD = PAPERS["zhang2023accdd"]

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

    o runs over the output filters of layer l; the networks are trained on S between matching steps.

    **Reference**: Zhao, Mopuri and Bilen, ICLR 2021, Algorithm 1. From the authors' code: start from noise, 256 items
    of T per class, S by SGD with momentum 0.5, networks by SGD at 0.01; loop lengths by ipc.

    **Differs**: any ipc runs, with loop lengths interpolated. ``iterations`` counts matching steps. 300 of them, at a
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
        update=Update(lr={"inputs": 0.3}, schedule=Cosine()),
        iterations=iterations,
    )


@method(DSA)
def dsa(ipc: int = 1, iterations: int = 300) -> Recipe:
    """DC with differentiable siamese augmentation: gradients are taken on A(S_c) and A(T_c), one A for both.

    A is drawn per class and step from colour, crop, cutout, flip, scale and rotation; images of digits are not flipped.
    All else as DC, from a real start.

    **Reference**: Zhao and Bilen, ICML 2021, Eq. 8.

    **Differs**: as DC.
    """
    plain = dc(ipc, iterations)
    return replace(plain, name="dsa", synthetic=Pixels(ipc, init="real"), augment=Siamese())


@method(DCC)
def dcc(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Contrastive signals: min_S D( sum_c grad l(S_c), sum_c grad l(T_c) ), D of DC.

    Summed over the classes, gradients show what tells classes apart and hide what they share; a class-wise warm-up, DC
    as it is, comes first. All else as DC, from a real start. The authors' DSAC is this with ``augment.name=siamese``.

    **Reference**: Lee et al., ICML 2022; a quarter of the iterations to warm up (250 of 1 000) from their code.

    **Differs**: as DC. The warm-up counts steps of S alone; the published one also begins each network with class-wise
    steps.
    """
    objective = GradientMatch(scope="sum", warmup=iterations // 4)
    return replace(dc(ipc, iterations), name="dcc", synthetic=Pixels(ipc, init="real"), objective=objective)


@method(JIANG)
def intra_inter(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Multi-level matching: min_S sum_c D( grad l(S_c), grad l(T_c) ) + D( sum_c grad l(S_c), sum_c grad l(T_c) ).

    D = sum over filters of 1 - cos(s, t) + |s - t|, so that magnitudes count as well as angles. All else as DSA.

    **Reference**: Jiang et al., 2022; the distance is Eq. 26 of the survey by Lei and Tao.

    **Differs**: as DC, at a rate that falls from the published 0.1. Both levels have weight one (``objective.weight``),
    and the second compares sums over the classes, which keeps it at the scale of the first. Networks are trained for
    DC's fixed lengths, not until they overfit.
    """
    plain = dsa(ipc, iterations)
    update = replace(plain.update, lr={"inputs": 0.1})
    return replace(plain, name="intra_inter", objective=GradientMatch(MagnitudeAware(), scope="both"), update=update)


@method(IDC)
def idc(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Efficient parameterisation: min_S | grad l(A(f(S_c))) - grad l(A(T_c)) |^2 class after class, over convolutions.

    f cuts each stored image into four tiles and resizes each to full size, so that four images take the bytes of one;
    the networks are trained on T, not on S.

    **Reference**: Kim et al., ICML 2022, Algorithm 1. From the authors' code: tiles start as real images, 64 items of T
    per class, a step of S after every class, SGD with momentum 0.5 at a rate in proportion to ipc, colour, crop and
    cutout for A, stored images held within [0, 1], networks by SGD at 0.01 with momentum 0.9 on batches of 64, half of
    them under cutmix. For grey images theirs is the distance with p = 1 (``objective.distance.p=1``).

    **Differs**: 200 iterations, a new network every 10, 8 batches of training between two, and a rate that falls from
    0.1 per image and class along a cosine to zero suit a small machine; the published runs take 200 000, a new network
    every 100, an epoch on 2 000 real images between two, and a constant 0.0005 per image and class (CIFAR-10, 0.005 at
    ipc 10). Images are stored standardised, which the linear f does not feel; a rate counts as 1 / std^2 of it would on
    images in [0, 1]. They are brought back into range after every step, not every iteration.
    """
    return Recipe(
        "idc",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=GradientMatch(Lp(p=2), real=64, joint=False),
        policy=TrainedOnReal(rounds=10, fit=Fit(steps=8, cutmix=0.5)),
        augment=Siamese(ops=("color", "crop", "cutout")),
        update=Update(lr={"inputs": 0.1 * ipc}, schedule=Cosine(), clamp=True),
        iterations=iterations,
    )


@method(ACCDD)
def accdd(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Model augmentation: IDC at networks theta + m d of a pool that was trained on T for a little.

    The pool holds 5 networks of 2 epochs; d is random, scaled filter by filter to theta, and m uniform in 0.01 to 0.09.
    All else as IDC.

    **Reference**: Zhang et al., CVPR 2023; numbers from the authors' code.

    **Differs**: as IDC; networks of the pool are not trained further between the steps.
    """
    early = Early(networks=5, fit=Fit(steps=None, epochs=2, cutmix=0.5))
    return replace(idc(ipc, iterations), name="accdd", policy=Perturbed(early))
