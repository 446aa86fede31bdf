"""Methods that differentiate through training on S."""

from dataclasses import replace

from ddcore.carriers.chosen import Herding
from ddcore.carriers.latents import Adversarial, Latents
from ddcore.carriers.pixels import Pixels
from ddcore.carriers.shared_bases import SharedBases
from ddcore.composition import Recipe, method
from ddcore.labels.soft import Soft
from ddcore.labels.vectors import Vectors
from ddcore.objectives.bptt import Bptt
from ddcore.objectives.ridge import KernelRidge
from ddcore.optimisers import Adam
from ddcore.papers import PAPERS
from ddcore.policies.trained import TrainedOnSynthetic
from ddcore.schedules import Cosine
from ddcore.update import Update

DD = PAPERS["wang2018dd"]
SLDD = PAPERS["sucholutsky2021sldd"]
LD = PAPERS["bohdal2020ld"]
RTP = PAPERS["deng2022rtp"]
RAT = PAPERS["feng2024rat"]
GTN = PAPERS["such2020gtn"]


@method(DD)
def dd(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Dataset distillation: min_{S, a} l_T( w_n ), where w_{i+1} = w_i - a_i grad l_{S_i}( w_i ) from a fresh w_0.

    S is one image of every class after another, in an order that belongs to it as its n step sizes do; both are in the
    artefact, and the protocol ``dd`` replays them.

    **Reference**: Wang et al., 2018, Eq. 2 and Algorithm 1. From the authors' code: 30 steps, in three passes over ten
    images per class, step sizes that start at 0.02, Adam.

    **Differs**: 30 steps at any ipc, so 30 passes at 1; S starts from real images, not noise
    (``synthetic.init=noise``); step sizes stay positive as logarithms, not through a softplus. 200 iterations with 256
    items of T suit a small machine; published are 400 epochs with 1 024, Adam at 0.01 and 0.5, halved every 40 epochs.
    """
    return Recipe(
        "dd",
        synthetic=Pixels(ipc, init="real"),
        objective=Bptt(steps=30, each=True, ordered=True),
        update=Update(lr={"inputs": 0.05, "step_size": 0.05}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
        step_size=0.02,
        iterations=iterations,
    )


@method(SLDD, DD)
def sldd(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Soft-label dataset distillation: ``dd`` with labels that are free real vectors and are learned with the images.

    The loss of a step is - sum_k y_k log softmax( f )_k; y starts one-hot.

    **Reference**: Sucholutsky and Schonlau, IJCNN 2021, Section 3.

    **Differs**: as ``dd``.
    """
    plain = dd(ipc, iterations)
    rates = {**plain.update.lr, "labels": 0.003}
    return replace(plain, name="sldd", labels=Vectors(), update=replace(plain.update, lr=rates))


@method(LD)
def ld(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Label distillation: min_Y l_T( w - a grad l_{(X, Y)}( w ) ), with real images X that are not changed.

    w is a network that is trained on S further and further and now and then replaced by a fresh one. One step is
    differentiated, at second order.

    **Reference**: Bohdal et al., 2020, Algorithm 1.

    **Differs**: X is herded, not random (``synthetic.name=random``); Y are the softmax of free logits that start equal,
    not numbers that are clamped and rescaled after each step; a network is replaced after 20 rounds of 5 epochs, not
    when a moving average of its loss has stopped moving; all of S is seen at once, at 0.05 (published: 50 of 100 images
    at 0.01, Adam at 0.001, 1 024 items of T, 400 epochs).
    """
    return Recipe(
        "ld",
        synthetic=Herding(ipc),
        objective=Bptt(steps=1, lr=0.05),
        policy=TrainedOnSynthetic(rounds=20, epochs=5, lr=0.05),
        labels=Soft(None),
        update=Update(lr={"labels": 0.1}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
        iterations=iterations,
    )


@method(LD)
def ld_ridge(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Label distillation by ridge regression: min_Y E || y_T - f(T) f(X)' (f(X) f(X)' + l I)^-1 Y ||^2 / 2.

    The step of training that ``ld`` differentiates is replaced by a last layer fitted in closed form, on the features f
    of a network that is trained on S further and further.

    **Reference**: Bohdal et al., 2020, Section 3.2, second variant.

    **Differs**: as ``ld``; Y are free vectors that start centred one-hot, for a squared error; l is in units of the
    mean of the kernel's diagonal.
    """
    return replace(
        ld(ipc, iterations),
        name="ld_ridge",
        objective=KernelRidge(ridge=1.0),
        labels=Vectors(centred=True, loss="squared"),
        update=Update(lr={"labels": 0.02}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
    )


@method(RAT, DD)
def rat_bptt(ipc: int = 1, iterations: int = 150) -> Recipe:
    """Randomly truncated back-propagation through training: min_S l_T( w_N ), N random, through the last W steps alone.

    w_{i+1} = w_i - a m_{i+1}, m_{i+1} = mu m_i + grad l_S( w_i ), from a fresh w_0; N is uniform from W to the longest
    training. The window keeps the gradients' variance and cost low, its random end has S teach all stages.

    **Reference**: Feng, Vedantam and Kempe, ICLR 2024. From the authors' code: momentum 0.9 and hard labels.

    **Differs**: S starts from real images, not noise (``synthetic.init=noise``). Trainings of 10 to 30 steps at 0.03 on
    100 images of S, of which the last 10 are differentiated, and 150 iterations of Adam at 0.05 suit a small machine;
    the defaults of the authors' code are a window of 20 steps at 0.01 and Adam at 0.01. They also train by Adam, which
    cannot be unrolled here, and with weight decay, augment both sides, and divide gradients by a running mean of their
    norm. On the digits at one image per class it has 92.1 ± 1.7 over three seeds in 45 s, ``dd`` 91.8 ± 1.8 in 146 s;
    what the window costs or brings was not measured.
    """
    return Recipe(
        "rat_bptt",
        synthetic=Pixels(ipc, init="real"),
        objective=Bptt(steps=30, batch=100, lr=0.03, momentum=0.9, window=10),
        update=Update(lr={"inputs": 0.05}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
        iterations=iterations,
    )


@method(RTP)
def rtp(ipc: int = 1, iterations: int = 120) -> Recipe:
    """Remember the past: back-propagation through training with momentum, into bases that all classes share.

    min_{A, B} l_T( w_n ), m_{i+1} = mu m_i + grad l_{S_i}( w_i ), w_{i+1} = w_i - a m_{i+1}, over images x_cj =
    enlarge( sum_b A_cjb B_b ). Ridge regression learns the same memory without unrolled training:
    ``objective.name=kernel_ridge``.

    **Reference**: Deng and Russakovsky, NeurIPS 2022, Eq. 3 and Section 3.2. From the authors' code: bases of half the
    sides, as many addresses as fit ipc images per class, momentum 0.9 and a clip at 2. The protocol ``rtp`` is theirs.

    **Differs**: the bases start from T, not from noise: with the short runs of a small machine that is decisive. At one
    image per class they start from the centres of clusters; beyond, from real images, and their number grows with ipc,
    so that a class has as many images, 45 of FashionMNIST, at any: before the first iteration at ten images per class,
    100 bases from real images have 74.3 (one seed, 2 500 test items), from centres 70.3, and 12 from centres 64.3. 12
    bases per image per class, up to 60 steps at 0.03 on 70 images of S, of which a random 15 in a row are
    differentiated, and 120 iterations of Adam; published are 16 bases, all of 150 steps at 0.01 on 32 images of S and
    64 of T per class, and 500 000 iterations of SGD at 0.1 with momentum 0.5. The penalty of their code on A has no
    derivative in S and is left out.
    """
    return Recipe(
        "rtp",
        synthetic=SharedBases(ipc, init="centres" if ipc == 1 else "real"),
        objective=Bptt(steps=60, batch=70, lr=0.03, momentum=0.9, window=15),
        update=Update(
            lr={"inputs": 0.02, "bases": 0.02}, optimiser=Adam(betas=(0.5, 0.999)), clip=2.0, schedule=Cosine()
        ),
        iterations=iterations,
    )


@method(GTN)
def gtn(ipc: int = 1, iterations: int = 150) -> Recipe:
    """Generative teaching network: a generator whose images, in a learned order, teach fresh networks T.

    min_{G, z, a} of the mean of l_T( w_i ) over points i, w_{i+1} the step of SGD with momentum on G( z_i ) at its own
    step size. Latents z are the curriculum; the artefact holds G and z and counts both.

    **Reference**: Such et al., ICML 2020, Section 2.

    **Differs**: G is a small one that fits the bytes of ipc images per class together with its latents, and is first
    trained on T against a discriminator (``synthetic.training=none`` starts it from random weights). 15 steps of 40
    images, the loss at three points, a fixed momentum of 0.5 and 150 iterations suit a small machine; published are 64
    steps of 128 images, the loss at every step, learned momentum, and 2 000 iterations of Adam at 0.02.

    **Privately**, ``plugins.private.requests`` must count the generator's training and each point of the loss, and all
    must draw at one rate: ``synthetic.tries=1``, and ``objective.real`` as large as ``synthetic.training.batch``.
    """
    return Recipe(
        "gtn",
        synthetic=Latents(ipc, learned=True, training=Adversarial(steps=500)),
        objective=Bptt(steps=15, batch=40, each=True, ordered=True, momentum=0.5, checks=3),
        update=Update(
            lr={"inputs": 0.03, "generator": 0.003, "step_size": 0.02},
            optimiser=Adam(betas=(0.5, 0.999)),
            schedule=Cosine(),
        ),
        step_size=0.02,
        iterations=iterations,
    )
