"""Methods whose sets are to teach robust networks."""

from dataclasses import replace

from ddcore import plugin as dd
from ddcore_robust.attacks import PGD, Pgd
from ddcore_robust.balls import Linf
from ddcore_robust.curvature import Curvature
from ddcore_robust.view import Attacked

ADV_KIP = dd.Citation(
    "tsilivis2022robust",
    "Tsilivis, Nikolaos and Su, Jingtong and Kempe, Julia",
    "Can We Achieve Robustness from Data Alone?",
    "arXiv:2207.11727",
    2022,
    "article",
)
TRI_LEVEL = dd.Citation(
    "wu2022robust",
    "Wu, Yihan and Li, Xinda and Kerschbaum, Florian and Huang, Heng and Zhang, Hongyang",
    "Towards Robust Dataset Learning",
    "arXiv:2211.10752",
    2022,
    "article",
)
GUARD = dd.Citation(
    "xue2025guard",
    "Xue, Eric and Li, Yijiang and Liu, Haoyang and Wang, Peiran and Shen, Yifan and Wang, Haohan",
    "Towards Adversarially Robust Dataset Distillation by Curvature Regularization",
    "AAAI Conference on Artificial Intelligence",
    2025,
)


def _against(epsilon: float, steps: int) -> tuple[Attacked, ...]:
    return (Attacked(Pgd(Linf(epsilon), steps)),)


@dd.method(ADV_KIP, PGD)
def adv_kip(ipc: int = 10, iterations: int = 300, epsilon: float = 0.1) -> dd.Recipe:
    """KIP on adversarial items: min_S E max_{|d| <= epsilon} l( K(x + d, S) (K_SS + l I)^-1 y_S, y_x ).

    Each batch of T is moved by PGD against the kernel predictor of S, and the loss of the predictor there goes back to
    S through the gate.

    **Reference**: Tsilivis, Su and Kempe, 2022.

    **Differs**: the kernel, l and the rates are those of ``kip``; labels are learned; the attack is PGD of 10 steps on
    the squared error that S is learned by.
    """
    plain = dd.kip(ipc, iterations)
    return replace(
        plain,
        name="adv_kip",
        labels=dd.Vectors(centred=True, loss="squared"),
        augment=None,
        views=_against(epsilon, 10),
        update=replace(plain.update, lr={"inputs": 0.04, "labels": 0.01}),
    )


@dd.method(ADV_KIP, PGD)
def robust_ridge(ipc: int = 10, iterations: int = 400, epsilon: float = 0.1) -> dd.Recipe:
    """Adversarial ridge regression on a pool's features: ``frepo`` with T attacked against its predictor.

    min_{S, y} E max_{|d| <= epsilon} || y_x - f(x + d) f(S)' (f(S) f(S)' + l I)^-1 y ||^2 / 2, f of a pool of networks
    that train on S. Ours: adv_kip's objective with the finite networks of FRePo (Zhou et al., NeurIPS 2022).
    """
    plain = dd.frepo(ipc, iterations)
    return replace(plain, name="robust_ridge", objective=dd.KernelRidge(real=128), views=_against(epsilon, 10))


@dd.method(TRI_LEVEL, PGD)
def tri_level(ipc: int = 10, iterations: int = 200, epsilon: float = 0.1) -> dd.Recipe:
    """Robust dataset learning: min_S E max_{|d| <= epsilon} l( w*(S); x + d, y ), w*(S) trained on S in the usual way.

    The student takes n steps of SGD on S; T is attacked against what it has become; and the loss there is
    differentiated through the n steps.

    **Reference**: Wu et al., 2022.

    **Differs**: w* is a student of 30 steps from a fresh start, differentiated exactly, not a stationary point that is
    linearised; S is small, where theirs is T itself, changed.
    """
    return dd.Recipe(
        "tri_level",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.Bptt(steps=30, batch=50, lr=0.03, momentum=0.9, real=128),
        views=_against(epsilon, 7),
        update=dd.Update(lr={"inputs": 0.05}, optimiser=dd.Adam(betas=(0.5, 0.999)), clip=2.0, schedule=dd.Cosine()),
        iterations=iterations,
    )


@dd.method(PGD)
def adv_dm(ipc: int = 10, iterations: int = 200, epsilon: float = 0.1) -> dd.Recipe:
    """Distribution matching with adversarial items of T: a negative control.

    Mean features of attacked items are hardly others than those of clean ones, and the attack is one on a random
    network, so S learns nothing of robustness.
    """
    return dd.Recipe(
        "adv_dm",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.FeatureMatch(real=64),
        augment=dd.Siamese(),
        views=_against(epsilon, 7),
        update=dd.Update(lr={"inputs": 1.0}),
        iterations=iterations,
    )


@dd.method(GUARD)
def guard(ipc: int = 10, iterations: int = 200, weight: float = 1.0) -> dd.Recipe:
    """Distribution matching with a curvature term on S, by networks that were trained on T.

    **Reference**: Xue et al., AAAI 2025, Section 3.

    **Differs**: theirs adds the term to the training of the teacher of SRe2L; here it bends S itself.
    """
    return dd.Recipe(
        "guard",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.Sum((dd.FeatureMatch(real=64), Curvature(weight))),
        augment=dd.Siamese(),
        update=dd.Update(lr={"inputs": 1.0}),
        iterations=iterations,
    )
