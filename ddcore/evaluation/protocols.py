"""Protocols by name: those of the papers, and a quick one."""

from __future__ import annotations

from dataclasses import replace

from ddcore.augment.affine import Affine
from ddcore.augment.crop import Crop
from ddcore.augment.siamese import Siamese
from ddcore.evaluation.preset import preset
from ddcore.evaluation.protocol import Protocol
from ddcore.optimisers import Adam, AdamW, Sgd
from ddcore.papers import PAPERS
from ddcore.recipes.bptt import DD, RTP
from ddcore.recipes.decoupled import FKD
from ddcore.recipes.gradient import DC, DSA, IDC
from ddcore.recipes.kernel import FREPO
from ddcore.recipes.trajectory import MTT
from ddcore.schedules import Constant, Cosine, Half, Thirds, Warm

RD3 = PAPERS["zhong2026rd3"]
DD_RANKING = PAPERS["li2025ddranking"]
HALD = PAPERS["cui2025hald"]


@preset()
def quick() -> Protocol:
    """250 steps of Adam at 2e-3, cosine, batches of 64 under affine changes: minutes on two cores.

    Sets of more than 200 items get steps in proportion, 1 000 at most, and three passes at least.
    """
    return Protocol()


@preset(DC)
def dc_mnist() -> Protocol:
    """As ``dc``, for 1 000 epochs: what its authors do on MNIST, where each image is cropped, scaled or rotated.

    One of the three, picked for each image: a shift of up to 4 of 28 pixels, a size within 1 +- 0.2, 45 degrees.

    Differs: shifts need not be of whole pixels, both sides are scaled alike, and zeros come in at the edges.
    """
    return replace(dc(), epochs=1000, augment=Affine(degrees=45.0, translate=1 / 7, scale=0.2, one=True))


@preset(DC, on={"mnist": dc_mnist})
def dc() -> Protocol:
    """The protocol of Zhao et al. (ICLR 2021): 300 epochs of SGD at 0.01 without augmentation; on MNIST ``dc_mnist``.

    Momentum 0.9, weight decay 5e-4, batches of 256, a tenth of the rate from half way on.

    Differs: 5 nets, not 20; 300 epochs, not 301.
    """
    return Protocol(
        steps=None,
        epochs=300,
        batch=256,
        optimiser=Sgd(momentum=0.9, weight_decay=5e-4),
        lr=(0.01,),
        schedule=Half(),
        augment=None,
    )


@preset(DSA)
def dsa() -> Protocol:
    """As ``dc``, for 1 000 epochs under siamese augmentation, drawn for each item (Zhao and Bilen, ICML 2021).

    DC-BENCH (Cui et al., NeurIPS 2022) trains so too where it augments, and as ``dc`` where it does not, on networks of
    your choice: ``--networks convnet,mlp,resnet18``.
    """
    return replace(dc(), epochs=1000, augment=Siamese())


@preset(MTT)
def mtt() -> Protocol:
    """As ``dsa``, at the step size that the set brings (Cazenavette et al., CVPR 2022)."""
    return replace(dsa(), learned_lr=True)


@preset(IDC)
def idc() -> Protocol:
    """1 000 epochs of SGD at 0.01 in batches of 64, half of them under cutmix (Kim et al., ICML 2022).

    A fifth of the rate from two thirds and again from five sixths on, siamese augmentation without cutout.
    """
    augment = Siamese(("color", "crop", "flip", "scale", "rotate"))
    return replace(dsa(), batch=64, schedule=Thirds(), augment=augment, cutmix=0.5)


@preset(DD)
def dd() -> Protocol:
    """The steps that the set brings, in their order, at their step sizes and momentum, by SGD (Wang et al., 2018).

    A set that brings none is trained for 30 such steps at 0.02, along a cosine.
    """
    return Protocol(steps=30, optimiser=Sgd(momentum=0.0), lr=(0.02,), schedule=Cosine(), augment=None, replay=True)


@preset(RTP)
def rtp() -> Protocol:
    """300 epochs of SGD at a constant 0.01, momentum 0.9, batches of 640 (Deng and Russakovsky, NeurIPS 2022)."""
    return replace(dc(), batch=640, optimiser=Sgd(momentum=0.9), schedule=Constant())


@preset(FREPO)
def frepo() -> Protocol:
    """1 000 steps of Adam at 3e-4 in batches of 500, warmed up over the first half (Zhou et al., NeurIPS 2022).

    Siamese augmentation, drawn for each item.

    Differs: one change of the six per batch, none of them a shift beyond the crop's.
    """
    return Protocol(steps=1000, batch=500, optimiser=Adam(), lr=(3e-4,), schedule=Warm(), augment=Siamese())


@preset(FKD)
def fkd() -> Protocol:
    """300 epochs of AdamW at 0.001 from what a teacher says at temperature 20 (Yin, Xing and Shen, NeurIPS 2023).

    Weight decay 0.01, cosine, random crops drawn for each item.

    Differs: batches of 64, not 1 024; the gradient is not less for the temperature, which Adam would not feel; no
    cutmix.
    """
    return Protocol(
        steps=None, epochs=300, optimiser=AdamW(weight_decay=0.01), lr=(1e-3,), augment=Crop(), temperature=20.0
    )


@preset(HALD)
def hald() -> Protocol:
    """As ``fkd``, with the classes in the place of the teacher's word for the middle half (Cui et al., HALD, 2025).

    Differs: the hard labels are not smoothed (published for ImageNet-1K: 0.8), and they are the classes that the
    set's targets give most; without cutmix, as ``fkd``. On small images of few classes it loses: of ten images of
    digits per class that ``rded`` chose, with one crop each, 86.3 ± 4.5 where ``fkd`` has 89.6 ± 1.4 (one seed).
    """
    return replace(fkd(), hard=0.5)


@preset(RD3)
def rd3() -> Protocol:
    """400 epochs of Adam at 0.001 in batches of 50 from what a teacher says, under crops and cutmix.

    Zhong et al., ICLR 2026; cosine. A set must bring its teacher: ``labels.keep=true``, on a ResNet-18 as published.

    Differs: the teacher's temperature is 1; it is asked about crops before they are mixed, and its shares are mixed
    with them.
    """
    return Protocol(steps=None, epochs=400, batch=50, lr=(1e-3,), augment=Crop(), cutmix=1.0, temperature=1.0)


@preset(DD_RANKING)
def dd_ranking() -> Protocol:
    """As ``dsa``, at the best of five learning rates from 0.001 to 0.1 (Li et al., DD-Ranking, 2025).

    `ddcore card` gives the scores that it makes of four accuracies.

    Differs: the rate is chosen on a validation split of T, where theirs and the best epoch are chosen on the test
    split.
    """
    return replace(dsa(), lr=(0.001, 0.005, 0.01, 0.05, 0.1))


PRESETS = (quick, dc, dc_mnist, dsa, mtt, idc, dd, rtp, frepo, fkd, hald, rd3, dd_ranking)
