"""Recipes for clients, and one for a server."""

from __future__ import annotations

from dataclasses import replace

from ddcore import plugin as dd
from ddcore_federated.around import Around
from ddcore_federated.knowledge import ByLoss, Remembered
from ddcore_federated.server import REPLAY, ReplayEach, Server, TrainOnUnion
from ddcore_federated.trajectory import Trajectory
from ddcore_federated.update import UpdateMatch

FEDDM = dd.Citation(
    "xiong2023feddm",
    "Xiong, Yuanhao and Wang, Ruochen and Cheng, Minhao and Yu, Felix and Hsieh, Cho-Jui",
    "FedDM: Iterative Distribution Matching for Communication-Efficient Federated Learning",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2023,
)
DOSFL = dd.Citation(
    "zhou2020dosfl",
    "Zhou, Yanlin and Pu, George and Ma, Xiyao and Li, Xiaolin and Wu, Dapeng",
    "Distilled One-Shot Federated Learning",
    "arXiv preprint arXiv:2009.07999",
    2020,
    "article",
)
FEDD3 = dd.Citation(
    "song2023fedd3",
    "Song, Rui and Liu, Dai and Chen, Dave Zhenyu and Festag, Andreas and Trinitis, Carsten and Schulz, Martin and"
    " Knoll, Alois",
    "Federated Learning via Decentralized Dataset Distillation in Resource-Constrained Edge Environments",
    "International Joint Conference on Neural Networks",
    2023,
)
GOETZ = dd.Citation(
    "goetz2020synthetic",
    "Goetz, Jack and Tewari, Ambuj",
    "Federated Learning via Synthetic Data",
    "arXiv preprint arXiv:2008.04489",
    2020,
    "article",
)
FEDSYNTH = dd.Citation(
    "hu2022fedsynth",
    "Hu, Shengyuan and Goetz, Jack and Malik, Kshitiz and Zhan, Hongyuan and Liu, Zhe and Liu, Yue",
    "FedSynth: Gradient Compression via Synthetic Data in Federated Learning",
    "arXiv preprint arXiv:2204.01273",
    2022,
    "article",
)
KNOWLEDGE = dd.Citation(
    "liu2023metaknowledge",
    "Liu, Ping and Yu, Xin and Zhou, Joey Tianyi",
    "Meta Knowledge Condensation for Federated Learning",
    "International Conference on Learning Representations",
    2023,
)
DYNAFED = dd.Citation(
    "pi2023dynafed",
    "Pi, Renjie and Zhang, Weizhong and Xie, Yueqi and Gao, Jiahui and Wang, Xiaoyu and Kim, Sunghun and Chen, Qifeng",
    "DYNAFED: Tackling Client Data Heterogeneity with Global Dynamics",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2023,
)

LOCAL = dd.Fit(None, 1, 64, optimiser=dd.Sgd(momentum=0.0))
"""Local training of a round: an epoch of SGD at 0.01."""


@dd.method(FEDDM)
def feddm(ipc: int = 10, iterations: int = 40) -> dd.Recipe:
    """FedDM: min_S sum_c || mean h(T_c) - mean h(S_c) ||^2 + || mean z(T_c) - mean z(S_c) ||^2 over networks in a ball.

    h is the input of the last layer, z its outputs; each step has its own network, at the shared weights plus a
    Gaussian direction of norm rho. As z is linear in h, only means of h are asked of T. The server trains on the union
    (``train_on_union``, whose ``radius`` keeps it in the ball).

    **Reference**: Xiong et al., CVPR 2023.

    **Differs**: rho 3 and 40 iterations of Adam with 64 items of T per class, at a rate that falls from 0.05 along a
    cosine, suit a small machine; published are rho 5, 1 000 iterations at 1.0, 20 rounds of 10 clients with 10 images
    per class, the server 500 epochs of SGD at 0.01.
    """
    return dd.Recipe(
        "feddm",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.FeatureMatch(real=64, logits=1.0),
        network=Around(radius=3.0),
        update=dd.Update(lr={"inputs": 0.05}, optimiser=dd.Adam(betas=(0.5, 0.999)), schedule=dd.Cosine()),
        iterations=iterations,
    )


@dd.method(DOSFL)
def dosfl(ipc: int = 1, iterations: int = 100, steps: int = 10) -> dd.Recipe:
    """Distilled one-shot federated learning: the core's ``sldd`` from one start that all clients share.

    min_{S, Y, a} l_T( w_n ), w_{i+1} = w_i - a_i grad l_{S_i, Y_i}( w_i ) from the shared w_0: images, label vectors
    and step sizes are learned and sent once. The server takes the clients' steps in turn (``train_on_union`` with the
    training ``REPLAY``), or each client's from w_0 (``replay_each``).

    **Reference**: Zhou et al., 2020.

    **Differs**: as ``sldd``; 10 steps. ``network.radius`` is their soft reset, a start a little off w_0, and
    ``augment.name=masking`` their random masking; both are off, since in 40 iterations on digits masking a tenth cost 3
    points (10 clients, even split, two seeds).
    """
    return dd.Recipe(
        "dosfl",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=dd.Bptt(steps=steps, each=True, ordered=True),
        labels=dd.Vectors(),
        network=Around(),
        update=dd.Update(
            lr={"inputs": 0.05, "labels": 0.003, "step_size": 0.05},
            optimiser=dd.Adam(betas=(0.5, 0.999)),
            schedule=dd.Cosine(),
        ),
        step_size=0.02,
        iterations=iterations,
    )


@dd.method(FEDD3)
def fedd3(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """Decentralised dataset distillation: the core's ``kip`` on each shard, whose images are sent once, with classes.

    min_S E || y_T - K(T, S) (K(S, S) + l I)^-1 y_S ||^2 / 2, K a neural tangent kernel. The server trains a new network
    on the union (``train_on_union`` with ``fresh``).

    **Reference**: Song et al., IJCNN 2023.

    **Differs**: as ``kip``; labels are one-hot and fixed, where theirs are hardened at the end; no stop at an accuracy
    on T. Published are Adam at 0.004 for up to 3 000 steps, 500 clients with 10 or 2 images each, the server a LeNet
    for 500 epochs at 0.001.
    """
    return replace(dd.kip(ipc, iterations), name="fedd3", labels=dd.Hard())


@dd.method(FEDSYNTH, GOETZ)
def fedsynth(ipc: int = 1, iterations: int = 100, steps: int = 5) -> dd.Recipe:
    """FedSynth: a tiny set whose few steps from the shared weights give the update that local training gave.

    min_{S, a} || D_S - D_T ||^2 / || D_T ||^2, D_T the update of one fit to T from w_r, D_S that of ``steps`` steps on
    S at the learned step size a. The server replays each set (``replay_each``).

    **Reference**: Hu et al., 2022.

    **Differs**: every step sees all of S, where each of theirs may have its own items; the distance is in units of the
    update; step size, lengths and rates are ours.
    """
    return dd.Recipe(
        "fedsynth",
        synthetic=dd.Pixels(ipc, init="real"),
        objective=UpdateMatch(steps),
        policy=dd.Experts(experts=1, fit=LOCAL, last=0, span=1),
        network=Around(),
        update=dd.Update(
            lr={"inputs": 0.1, "step_size": 0.1}, optimiser=dd.Adam(betas=(0.5, 0.999)), schedule=dd.Cosine()
        ),
        step_size=0.1,
        iterations=iterations,
    )


@dd.method(GOETZ)
def goetz_tewari(ipc: int = 1, iterations: int = 100) -> dd.Recipe:
    """Synthetic data for an update: a tiny set whose one gradient at the shared weights is the local update.

    min_{S, a} || a grad l_S( w_r ) + D_T ||^2 / || D_T ||^2, D_T the update of one fit to T from w_r: ``fedsynth`` of
    one step. The server replays each set (``replay_each``).

    **Reference**: Goetz and Tewari, 2020.

    **Differs**: as ``fedsynth``; the last S is kept, not the one with the lowest loss on T, which no gate discloses.
    """
    return replace(fedsynth(ipc, iterations, steps=1), name="goetz_tewari")


@dd.method(KNOWLEDGE)
def meta_knowledge(ipc: int = 10, iterations: int = 40, path: str | None = None) -> dd.Recipe:
    """Meta knowledge: min_S sum_i phi_i l_i( w - a grad l_S( w ) ), phi_i the less the larger item i's loss l_i.

    Training on S is to lead to low losses on T, of which items that the network cannot know count less; S starts from
    what clients made before, where ``path`` names such images. The server trains on the union (``train_on_union``).

    **Reference**: Liu et al., ICLR 2023: bilevel condensation, dynamic weights, conditional initialisation.

    **Differs**: phi = 2 sigmoid( -l ) is ours, as are two steps at 0.1 on 32 items of S instead of one on all, lengths
    and rates; the server's learned constraint, a generator of further items, is left out.
    """
    return dd.Recipe(
        "meta_knowledge",
        synthetic=Remembered(ipc, path=path, init="real"),
        objective=ByLoss(dd.Bptt(steps=2, batch=32, lr=0.1, real=128)),
        network=Around(),
        update=dd.Update(lr={"inputs": 0.02}, optimiser=dd.Adam(betas=(0.5, 0.999)), schedule=dd.Cosine()),
        iterations=iterations,
    )


@dd.method(DYNAFED)
def dynafed(ipc: int = 10, iterations: int = 200) -> dd.Recipe:
    """DynaFed's server: MTT on the trajectory of the global weights, from noise; nothing is asked of T.

    min_{S, Y, a} || w_n(S, Y, a) - w_{t+1} ||^2 / || w_t - w_{t+1} ||^2 over the first rounds t of federated averaging,
    which ``policy.path`` names; images and label vectors are learned. The server (``Dynafed``) runs it and trains later
    averages on S.

    **Reference**: Pi et al., CVPR 2023.

    **Differs**: a target one round on (``policy.span``), 10 steps, 200 iterations and rates that suit a small machine,
    by Adam along a cosine. Published are 80 clients of which 40 % take part, 25 rounds of trajectory, 15 images per
    class, 20 steps, targets three points on, S at 0.05.
    """
    return dd.Recipe(
        "dynafed",
        synthetic=dd.Pixels(ipc, init="noise"),
        objective=dd.TrajectoryMatch(steps=10),
        policy=Trajectory(),
        labels=dd.Vectors(),
        update=dd.Update(
            lr={"inputs": 0.1, "labels": 0.01, "step_size": 0.1},
            optimiser=dd.Adam(betas=(0.5, 0.999)),
            schedule=dd.Cosine(),
        ),
        step_size=0.02,
        iterations=iterations,
    )


def usual_server(method: str) -> Server:
    """The server part for sets that clients make by ``method``, one of these or any other.

    Raises:
        RecipeRefused: no client makes sets by it.
    """
    if method == "dynafed":
        raise dd.RecipeRefused(
            "By dynafed the server makes a set, and clients send weights: take the exchange averaging, with refined."
        )
    if method in ("fedsynth", "goetz_tewari"):
        return ReplayEach()
    if method == "dosfl":
        return TrainOnUnion(REPLAY)
    return TrainOnUnion(fresh=method == "fedd3")
