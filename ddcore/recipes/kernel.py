"""Methods that fit a kernel ridge regression to S and lower its loss on T."""

from ddcore.augment.affine import Affine
from ddcore.carriers.pixels import Pixels
from ddcore.composition import Recipe, method
from ddcore.kernels import DenseTangent
from ddcore.labels.vectors import Vectors
from ddcore.objectives.ridge import KernelRidge, TangentRidge
from ddcore.optimisers import Adam
from ddcore.papers import PAPERS
from ddcore.policies.pool import Pool
from ddcore.policies.side_by_side import SideBySide
from ddcore.schedules import Cosine
from ddcore.update import Update

KIP = PAPERS["nguyen2021kip"]
KIP_INFINITE = PAPERS["nguyen2021infinitely"]
FREPO = PAPERS["zhou2022frepo"]
RFAD = PAPERS["loo2022rfad"]


def _adam(**lr: float) -> Update:
    return Update(lr=lr, optimiser=Adam(), schedule=Cosine())


@method(KIP, KIP_INFINITE)
def kip(ipc: int = 1, iterations: int = 1000) -> Recipe:
    """Kernel inducing points: min_S E || y_T - K(T, S) (K(S, S) + l I)^-1 y_S ||^2 / 2, K a neural tangent kernel.

    K is that of an infinitely wide, fully connected network of three hidden layers; no network is trained.

    **Reference**: Nguyen et al., ICLR 2021, Eq. 7. From the authors' notebook: centred one-hot labels that stay fixed,
    S by Adam at 0.04, l in units of the mean of K's diagonal, all in float64.

    **Differs**: a real start, 256 items of T per step and 1 000 iterations at a rate that falls along a cosine suit a
    small machine; l = 1, and affine changes that T and S share, let S teach networks that are not that kernel. The
    notebook takes one hidden layer, 5 000 items, a constant rate, l of 1e-6 and no changes
    (``objective.kernel.depth=1``, ``objective.real=5000``, ``update.schedule=constant``, ``objective.ridge=1e-6``,
    ``augment=none``). The published convolutional sets (NeurIPS 2021) come from a convolutional kernel on thousands of
    machines and from ZCA images: ``objective.kernel.name=conv_tangent`` and ``preprocess.name=zca``. Learned labels:
    ``labels.learned=true`` and ``update.lr.labels=0.01``.
    """
    return Recipe(
        "kip",
        synthetic=Pixels(ipc, init="real"),
        objective=TangentRidge(real=256, ridge=1.0, kernel=DenseTangent(depth=3)),
        labels=Vectors(centred=True, learned=False, loss="squared"),
        augment=Affine(),
        update=_adam(inputs=0.04),
        iterations=iterations,
    )


@method(FREPO)
def frepo(ipc: int = 1, iterations: int = 600) -> Recipe:
    """Neural feature regression: min_{S, y} E || y_T - f(T) f(S)' (f(S) f(S)' + l I)^-1 y ||^2 / 2, f of a pool.

    f is the last layer's input of a network from a pool of 10, each trained on S for one step after it was used, and
    replaced after 100.

    **Reference**: Zhou et al., NeurIPS 2022, Algorithm 1. From the authors' code: labels learned from centred one-hot,
    S doubled by its mirror image where that keeps the label, l of 1e-6 in units of the mean of K's diagonal, pool
    members by Adam on the squared error. Protocol ``frepo`` is theirs.

    **Differs**: 256 items of T per step and 600 iterations of Adam at rates that fall from 0.03 (labels 0.01) along a
    cosine, with members at 2e-3, suit a small machine; the published runs take 1 024 items, 500 000 iterations of LAMB
    at 3e-4 and members at 3e-4 (``policy.lr=3e-4``). Labels have no margin term and scale one (theirs is sqrt(10 / k),
    ``labels.scale``); the network is the same in the pool and in the evaluation, where theirs has batch norm in the
    pool alone and doubles its width layer by layer; images are standardised (``preprocess.name=zca``). On MNIST at one
    image per class (ConvNet of width 32, test items) these settings have 80.0 in 90 CPU seconds, one seed; in as many,
    1 700 steps with ``policy.name=fresh``, ``labels.temperature=15``, ``augment.name=affine``, ``objective.real=128``,
    ``update.ema=0.98`` and ``update.lr={inputs=0.15, labels=0.02, temperature=0.02}`` have 91.1 ± 1.7 over four
    networks ± 0.7 over three seeds, and 2 600 at width 16, judged at 32, 91.4 ± 1.1 ± 0.5. They were chosen on
    validation items, where one seed had 89.8 and 90.1.
    """
    return Recipe(
        "frepo",
        synthetic=Pixels(ipc, init="real"),
        objective=KernelRidge(real=256, flip=True),
        policy=Pool(networks=10, age=100, lr=2e-3),
        labels=Vectors(centred=True, loss="squared"),
        update=_adam(inputs=0.03, labels=0.01),
        iterations=iterations,
    )


@method(RFAD)
def rfad(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Random feature approximation: FRePo's regression on the joint features of 8 new networks at every step.

    Their inner products approach the kernel of the infinitely wide network that starts as they do, its covariance at
    the start; none is ever trained. Predictions become logits by a learned temperature tau, and the loss on T is the
    cross-entropy of softmax( tau f ). ``labels.temperature=none`` with ``update.lr={inputs=0.03, labels=0.01}`` is the
    squared error.

    **Reference**: Loo et al., NeurIPS 2022, Sections 3.1 and 3.3, Platt scaling. From the authors' code: 8 networks, l
    of 5e-3 in units of the mean of K's diagonal.

    **Differs**: 128 items of T per step and 300 iterations of Adam at rates that fall along a cosine suit a small
    machine; the published runs take 5 120 items and up to 100 000 iterations of AdaBelief at 1e-3. Networks are
    ConvNets with instance norm, as they are evaluated, not of width 256 without a norm (``network.norm=none``); pixels
    are not seen through a learned linear map; images are standardised (``preprocess.name=zca``). A temperature that
    starts at 1 comes to 3 in 200 steps. On MNIST at one image per class (validation items, ConvNet of width 32, 38 CPU
    seconds, one seed) 400 steps with ``policy.networks=1``, ``objective.ridge=1e-6``, ``labels.temperature=10`` and
    ``update.lr={inputs=0.15, labels=0.01, temperature=0.05}`` have 86.6 ± 0.5, and with ``augment.name=affine`` 88.1 ±
    0.6; another seed was uneven, 86.0 ± 7.1 on the test items after 900 steps.
    """
    return Recipe(
        "rfad",
        synthetic=Pixels(ipc, init="real"),
        objective=KernelRidge(real=128, ridge=5e-3),
        policy=SideBySide(networks=8),
        labels=Vectors(centred=True, loss="squared", temperature=1.0),
        update=_adam(inputs=0.03, labels=0.01, temperature=0.01),
        iterations=iterations,
    )
