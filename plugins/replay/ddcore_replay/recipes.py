"""Recipes made for memories."""

from __future__ import annotations

from ddcore import plugin as dd
from ddcore_replay.composite import Composite

ROSASCO = dd.Citation(
    "rosasco2021distilled",
    "Rosasco, Andrea and Carta, Antonio and Cossu, Andrea and Lomonaco, Vincenzo and Bacciu, Davide",
    "Distilled Replay: Overcoming Forgetting through Synthetic Samples",
    "International Workshop on Continual Semi-Supervised Learning",
    2021,
)
WIEWEL = dd.Citation(
    "wiewel2021ccmcl",
    "Wiewel, Felix and Yang, Bin",
    "Condensed Composite Memory Continual Learning",
    "International Joint Conference on Neural Networks",
    2021,
)

ZHAO = dd.Citation(
    "zhao2023dm",
    "Zhao, Bo and Bilen, Hakan",
    "Dataset Condensation with Distribution Matching",
    "IEEE/CVF Winter Conference on Applications of Computer Vision",
    2023,
)
DENG = dd.Citation(
    "deng2022rtp",
    "Deng, Zhiwei and Russakovsky, Olga",
    "Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks",
    "Advances in Neural Information Processing Systems",
    2022,
)
MASARCZYK = dd.Citation(
    "masarczyk2020stable",
    "Masarczyk, Wojciech and Tautkute, Ivona",
    "Reducing Catastrophic Forgetting with Learning on Synthetic Data",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops",
    2020,
)


@dd.method(ROSASCO)
def distilled_replay(ipc: int = 1, iterations: int = 200, steps: int = 30) -> dd.Recipe:
    """Distilled replay: min_S sum_{j=1..J} l_T( w_j ), where w_{j+1} = w_j - a grad l_S( w_j ) from a fresh w_0.

    The loss on T is summed over all J = ``steps`` of training on S, not taken at the last alone; S starts from real
    images and moves by plain SGD, the step size a = 0.05 is fixed.

    **Reference**: Rosasco et al., 2021, Eq. 3. From the authors' code: J = 30, 128 items of T, S at 0.1; LeNet.

    **Differs**: each w_j meets its own items of T. The core's objective is the mean over the steps, so the rate of S is
    J times theirs. Networks start as torch's layers do, not by Xavier's rule. Published are 70 epochs on the items of a
    task, about 6 500 iterations; 200 suit a small machine.
    """
    return dd.Recipe(
        "distilled_replay",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.Bptt(steps=steps, lr=0.05, checks=steps, real=128),
        network=dd.LeNet(),
        update=dd.Update(lr={"inputs": 0.1 * steps}, optimiser=dd.Sgd(momentum=0.0)),
        iterations=iterations,
    )


@dd.method(WIEWEL)
def ccmcl(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """Condensed composite memory: min_{C, W} sum_c D( grad l(S_c), grad l(T_c) ), S_ci = sum_k W_cik C_ck, D of DC.

    2n images per class are mixtures of n components, learned together by gradient matching at networks that are trained
    on S, a new one every 10 steps.

    **Reference**: Wiewel and Yang, IJCNN 2021, Section III.

    **Differs**: as :class:`Composite`; one update between two trainings of a network, not 10 (``policy.steps=10``);
    networks are trained on S alone, not on T and what is stored; 200 updates by Adam along a cosine suit a small
    machine, published are 10 000 by RMSprop at 0.01.
    """
    return dd.Recipe(
        "ccmcl",
        synthetic=Composite(ipc),
        objective=dd.GradientMatch(real=256),
        policy=dd.TrainedOnSynthetic(rounds=10, epochs=1),
        update=dd.Update(
            lr={"inputs": 0.05, "weights": 0.01}, optimiser=dd.Adam(betas=(0.5, 0.999)), schedule=dd.Cosine()
        ),
        iterations=iterations,
    )


@dd.method(ZHAO, DENG)
def dm_bases(ipc: int = 1, iterations: int = 20) -> dd.Recipe:
    """Distribution matching on shared bases: min_{a, B} sum_c || mean f(A(T_c)) - mean_j f(A(x_cj)) ||^2.

    The images are x_cj = enlarge( sum_b a_cjb B_b ), which start as the best approximation of random real ones. For two
    classes, an experience's usual number, the bases take half of the bytes: tens to hundreds of images per class fit in
    those of ipc, which is what memories of few bytes need most.

    **References**: the objective, Zhao and Bilen, WACV 2023, Eq. 6; the bases, Deng and Russakovsky, NeurIPS 2022,
    Section 3.2.

    **Differs**: the composition is ours, for memories that must be condensed about as fast as they are trained on: few
    steps of Adam on bases and addresses, at a small network.
    """
    return dd.Recipe(
        "dm_bases",
        synthetic=dd.SharedBases(ipc, bases=4 * ipc, init="real", most=100),
        objective=dd.FeatureMatch(real=64),
        policy=dd.Fresh(),
        network=dd.ConvNet(width=16),
        augment=dd.Siamese(),
        update=dd.Update(
            lr={"inputs": 0.01, "bases": 0.01}, optimiser=dd.Adam(betas=(0.5, 0.999)), schedule=dd.Cosine()
        ),
        iterations=iterations,
    )


@dd.method(MASARCZYK)
def stable_sequence(ipc: int = 1, iterations: int = 200, tasks: int = 2) -> dd.Recipe:
    """A stable sequence: min_{G, z, a} l_T( w_n ), w_{i+1} = w_i - a_i grad l( G(z_i); w_i ), one task after another.

    The learner first sees what a generator makes of the first task's classes, then what it makes of the second's, and
    the loss at the end is over the real items of all tasks. The protocol ``dd`` trains on the sequence in its order. T
    holds all tasks; the first are its first classes.

    **Reference**: Masarczyk and Tautkute, CVPR Workshops 2020.

    **Differs**: there is no public code, so generator, sizes and rates are ours: that of ``gtn``, learned from scratch
    with its latents, within the bytes of ipc images per class; the step sizes are learned; 20 steps of 20 images per
    task.
    """
    return dd.Recipe(
        "stable_sequence",
        synthetic=dd.Latents(ipc, learned=True, training=None, tries=1, most=100),
        objective=dd.Bptt(steps=20 * tasks, batch=20, each=True, ordered=True, tasks=tasks),
        update=dd.Update(
            lr={"inputs": 0.1, "generator": 0.02, "step_size": 0.05},
            optimiser=dd.Adam(betas=(0.5, 0.999)),
            schedule=dd.Cosine(),
            clip=1.0,
        ),
        step_size=0.1,
        iterations=iterations,
    )
