"""Methods of graph condensation: compositions of the core's objectives and policies on carriers of nodes."""

from __future__ import annotations

from dataclasses import replace

from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.carriers.chosen import ChosenNodes, CoarseNodes, NodeCentres
from ddcore_graph.carriers.free import FreeNodes
from ddcore_graph.carriers.graphs import SampledGraphs
from ddcore_graph.carriers.linked import PairedNodes, SampledNodes
from ddcore_graph.networks import GCN, GraphNet
from ddcore_graph.tangent import NodeTangent

HEARS = GCN(dropout=0.0)
"""What S is distilled on."""


def _moved(**lr: float) -> dd.Update:
    return dd.Update(lr=lr, optimiser=dd.Adam())


@dd.method(papers.JIN)
def gcond_x(ipc: int = 1, iterations: int = 400) -> dd.Recipe:
    """GCond-X: min_X' sum_c D( grad l(X'_c), grad l(A, X_c) ) at networks that are trained on X'; A' = I.

    D sums 1 - cosine over the rows of each weight matrix.

    **Reference**: Jin et al., GCond, ICLR 2022, Eq. 6 and the variant of Section 4.2. From the authors' code: 20
    matchings to a network, 15 steps of Adam at 0.01 between two of them.

    **Differs**: the start is class centres of A^2 X, not rows of X; X' moves by SGD, where theirs moves by Adam, which
    moves words that hardly matter by as much as those that do; D adds 1e-12 to products of norms, not 1e-6, which is as
    much as these products are, so that X' would grow; classes weigh alike, where theirs weigh by their nodes; the
    network is a GCN without dropout; fewer iterations.
    """
    return dd.Recipe(
        "gcond_x",
        synthetic=FreeNodes(ipc),
        objective=dd.GradientMatch(distance=dd.FilterCosine(eps=1e-12), real=256),
        policy=dd.TrainedOnSynthetic(rounds=20, epochs=15, batch=1_000_000, optimiser=dd.Adam()),
        network=HEARS,
        preprocess=dd.Identity(),
        update=dd.Update(lr={"inputs": 1e-4}, optimiser=dd.Sgd(momentum=0.5), clip=30.0),
        iterations=iterations,
    )


@dd.method(papers.JIN)
def gcond(ipc: int = 1, iterations: int = 400) -> dd.Recipe:
    """GCond: as ``gcond_x`` with links A' = g(X') that are learned in turns with the features, 10 steps and 40.

    **Reference**: Jin et al., GCond, ICLR 2022, Algorithm 1.

    **Differs**: as ``gcond_x``.
    """
    return replace(
        gcond_x(ipc, iterations),
        name="gcond",
        synthetic=PairedNodes(ipc),
        update=replace(_moved(inputs=1e-4, edges=1e-3), turns={"edges": 10, "inputs": 40}),
    )


@dd.method(papers.DOSCOND)
def doscond_x(ipc: int = 1, iterations: int = 400) -> dd.Recipe:
    """DosCond-X: one matching of gradients at each of many new networks, none of which is trained; A' = I.

    **Reference**: Jin et al., DosCond, KDD 2022, Eq. 5.

    **Differs**: as ``gcond_x``.
    """
    return replace(gcond_x(ipc, iterations), name="doscond_x", policy=dd.Fresh())


@dd.method(papers.DOSCOND)
def doscond(ipc: int = 1, iterations: int = 400) -> dd.Recipe:
    """DosCond: as ``doscond_x`` with links that are drawn, A'_ij ~ Bernoulli, relaxed while they are learned.

    **Reference**: Jin et al., DosCond, KDD 2022, Eq. 6.

    **Differs**: as ``gcond_x``.
    """
    return replace(
        doscond_x(ipc, iterations),
        name="doscond",
        synthetic=SampledNodes(ipc),
        update=_moved(inputs=1e-4, edges=3e-2),
    )


@dd.method(papers.LIU)
def gcdm_x(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """GCDM-X: min_X' sum_c || mean f(A, X_c) - mean f(X'_c) ||^2 over new networks f; A' = I.

    **Reference**: Liu et al., GCDM, 2022, Eq. 6.

    **Differs**: the mean of the last hidden channels alone, at networks that are not trained; the start is class
    centres of A^2 X.
    """
    return dd.Recipe(
        "gcdm_x",
        synthetic=FreeNodes(ipc),
        objective=dd.FeatureMatch(real=256),
        policy=dd.Fresh(),
        network=HEARS,
        preprocess=dd.Identity(),
        update=_moved(inputs=1e-4),
        iterations=iterations,
    )


@dd.method(papers.LIU)
def gcdm(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """GCDM: as ``gcdm_x`` with links A' = g(X') that are learned in turns with the features.

    **Reference**: Liu et al., GCDM, 2022, Section 4.

    **Differs**: as ``gcdm_x``.
    """
    return replace(
        gcdm_x(ipc, iterations),
        name="gcdm",
        synthetic=PairedNodes(ipc),
        update=replace(_moved(inputs=1e-4, edges=1e-3), turns={"edges": 10, "inputs": 40}),
    )


EXPERTS = dd.Fit(400, None, 1_000_000, lr=0.01, optimiser=dd.Adam(weight_decay=5e-4), snapshots=40)
"""400 steps on all labelled nodes, a snapshot after every tenth."""


@dd.method(papers.ZHENG)
def sfgc(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """SFGC: min_X',a || w_n(X', a) - w*_{t+M} ||^2 / || w*_t - w*_{t+M} ||^2 along trainings of a GCN on T; A' = I.

    **Reference**: Zheng et al., SFGC, NeurIPS 2023, Eq. 5.

    **Differs**: the set is the one at the end, not the one that a kernel regression likes best; 5 experts.
    """
    return dd.Recipe(
        "sfgc",
        synthetic=FreeNodes(ipc),
        objective=dd.TrajectoryMatch(steps=20),
        policy=dd.Experts(experts=5, fit=EXPERTS, last=10, span=5),
        network=HEARS,
        preprocess=dd.Identity(),
        update=_moved(inputs=1e-4, step_size=1e-2),
        step_size=0.5,
        iterations=iterations,
    )


@dd.method(papers.ZHANG, papers.ZHENG)
def geom(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """GEOM: as ``sfgc``, where the latest start of a match moves to later snapshots as S is learned.

    **Reference**: Zhang et al., GEOM, ICML 2024, Section 4.3.

    **Differs**: experts see all nodes from the start, in no order of difficulty, and labels are not softened by an
    expert.
    """
    plain = sfgc(ipc, iterations)
    assert isinstance(plain.policy, dd.Experts)
    return replace(plain, name="geom", policy=replace(plain.policy, last=5, grown=30, growth=max(1, iterations)))


@dd.method(papers.WANG)
def gcsntk(ipc: int = 1, iterations: int = 400) -> dd.Recipe:
    """GC-SNTK: min_X' E || y_T - K(T, X') (K(X', X') + l I)^-1 y' ||^2 / 2, K a tangent kernel on A^k X.

    **Reference**: Wang et al., GC-SNTK, WWW 2024, Eq. 8; A' = I.

    **Differs**: the kernel is that of a dense network on A^k X, without the authors' own aggregation of kernels; labels
    stay one-hot and centred.
    """
    return dd.Recipe(
        "gcsntk",
        synthetic=FreeNodes(ipc),
        objective=dd.TangentRidge(real=1_000_000, ridge=1.0, kernel=NodeTangent()),
        labels=dd.Vectors(centred=True, learned=False, loss="squared"),
        network=HEARS,
        preprocess=dd.Identity(),
        update=_moved(inputs=1e-3),
        iterations=iterations,
    )


@dd.method(papers.ZHOU, papers.WANG)
def node_ridge(ipc: int = 1, iterations: int = 300) -> dd.Recipe:
    """Ridge regression on hidden channels: min_{X', y'} E || y_T - f(T) f(X')' (f(X') f(X')' + l I)^-1 y' ||^2 / 2.

    f is of a pool of 10 networks, each trained on S for one step after it was used, and replaced after 100; labels are
    learned vectors; A' = I.

    **References**: Zhou et al., FRePo, NeurIPS 2022, Algorithm 1; ridge regression for graphs, Wang et al., GC-SNTK,
    WWW 2024, Eq. 8.

    **Differs**: the composition is ours.
    """
    return dd.Recipe(
        "node_ridge",
        synthetic=FreeNodes(ipc),
        objective=dd.KernelRidge(real=1_000_000),
        policy=dd.Pool(networks=10, age=100, lr=1e-3),
        labels=dd.Vectors(centred=True, loss="squared"),
        network=HEARS,
        preprocess=dd.Identity(),
        update=_moved(inputs=1e-4, labels=0.01),
        iterations=iterations,
    )


@dd.method(papers.JIN)
def random_nodes(ipc: int = 1, hops: int = 2) -> dd.Recipe:
    """Random labelled nodes of each class, by their rows of A^k X, which hold what a network hears on the graph.

    ``random`` takes rows of X, which are far from what networks hear there. **Reference**: the baseline of GCond's
    Table 2, Jin et al., ICLR 2022.
    """
    return _taken("random_nodes", ChosenNodes(ipc, by="random", hops=hops))


@dd.method(papers.SENER, papers.JIN)
def k_center_nodes(ipc: int = 1, hops: int = 2) -> dd.Recipe:
    """Labelled nodes that cover their class in A^k X, each the farthest from those before.

    **Reference**: Sener and Savarese, ICLR 2018, Algorithm 1; as a baseline, Jin et al., ICLR 2022, Table 2.
    """
    return _taken("k_center_nodes", ChosenNodes(ipc, by="farthest", hops=hops))


@dd.method(papers.JIN)
def herded_nodes(ipc: int = 1, hops: int = 2) -> dd.Recipe:
    """Labelled nodes whose mean in A^k X follows that of their class; no network is trained.

    **Reference**: the baseline of GCond's Table 2, Jin et al., ICLR 2022.
    """
    return _taken("herded_nodes", ChosenNodes(ipc, by="herding", hops=hops))


@dd.method(papers.WU)
def node_centres(ipc: int = 1, hops: int = 2) -> dd.Recipe:
    """Means of equal groups of each class in A^k X: what can be had without training.

    **Reference**: A^k X, Wu et al., ICML 2019; the composition is ours.
    """
    return _taken("node_centres", NodeCentres(ipc, hops=hops))


@dd.method(papers.HUANG)
def coarsening(ipc: int = 1, hops: int = 2) -> dd.Recipe:
    """Supernodes of the whole graph with the links between them.

    **Reference**: Huang et al., KDD 2021.

    **Differs**: see :class:`~ddcore_graph.carriers.chosen.CoarseNodes`.
    """
    return _taken("coarsening", CoarseNodes(ipc, hops=hops))


def _taken(name: str, carrier: dd.Carrier) -> dd.Recipe:
    return dd.Recipe(name, synthetic=carrier, network=HEARS, preprocess=dd.Identity())


@dd.method(papers.DOSCOND)
def doscond_graphs(ipc: int = 1, iterations: int = 200) -> dd.Recipe:
    """DosCond for classes of graphs: min_S sum_c D( grad l(S_c), grad l(T_c) ) at new networks; links are drawn.

    **Reference**: Jin et al., DosCond, KDD 2022, Algorithm 1.

    **Differs**: all classes move S together.
    """
    return dd.Recipe(
        "doscond_graphs",
        synthetic=SampledGraphs(ipc),
        objective=dd.GradientMatch(real=64),
        policy=dd.Fresh(),
        network=GraphNet(),
        preprocess=dd.Identity(),
        update=dd.Update(lr={"inputs": 0.01, "edges": 0.1}, optimiser=dd.Adam()),
        iterations=iterations,
    )


CONDENSE = (gcond, gcond_x, doscond, doscond_x, gcdm, gcdm_x, sfgc, geom, gcsntk, node_ridge)
TAKE = (random_nodes, k_center_nodes, herded_nodes, node_centres, coarsening)
