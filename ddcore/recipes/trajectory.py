"""Methods that match trajectories of training."""

from dataclasses import replace

from ddcore.augment.siamese import Siamese
from ddcore.carriers.hallucinator import Hallucinated
from ddcore.carriers.pixels import Pixels
from ddcore.composition import Recipe, method
from ddcore.gate.curriculum import Curriculum
from ddcore.gate.fit import Fit
from ddcore.labels.soft import Soft
from ddcore.objectives.combine import Sum
from ddcore.objectives.contrast import Contrast
from ddcore.objectives.trajectory import TrajectoryMatch
from ddcore.optimisers import Sgd
from ddcore.papers import PAPERS
from ddcore.policies.experts import Experts
from ddcore.policies.rival import Rival
from ddcore.update import Update

MTT = PAPERS["cazenavette2022mtt"]
FTD = PAPERS["du2023ftd"]
TESLA = PAPERS["cui2023tesla"]
HABA = PAPERS["liu2022haba"]
DATM = PAPERS["guo2024datm"]
PAD = PAPERS["li2024pad"]


EXPERTS = Fit(None, 10, 64, snapshots=10, augment=Siamese(), optimiser=Sgd(momentum=0.0))
"""Ten epochs of SGD at 0.01, a snapshot each."""


@method(MTT)
def mtt(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Matching training trajectories: min_S,a || w_n(S, a) - w*_{t+M} ||^2 / || w*_t - w*_{t+M} ||^2.

    A student starts at snapshot t of an expert, a network trained on T, and takes n steps of SGD at the step size a on
    augmented batches of S; it is to reach where the expert was M epochs later. S starts from real images; a is learned
    as its logarithm and is in the artefact.

    **Reference**: Cazenavette et al., CVPR 2022, Eq. 2. From the authors' code: S by SGD with momentum 0.5 at 100,
    experts by SGD at 0.01, each augmentation of S drawn separately for each item.

    **Differs**: 5 experts of 10 epochs in batches of 64, 20 student steps and 200 iterations suit a small machine;
    published are 100 experts of 50 epochs in batches of 256, 5 000 iterations, and by ipc 1, 10, 50: n 50, 30, 30, M 2,
    a latest start 1, 19, 39, ZCA (``preprocess.name=zca``) at the first two; keep that many experts on disk
    (``policy.store``), not in the run. An expert's batches have one augmentation each. The derivative is exact at flat
    memory. The step size cannot leave its range: its rate is that of the logarithm. A student step sees at most 256
    items of S.
    """
    return Recipe(
        "mtt",
        synthetic=Pixels(ipc, init="real"),
        objective=TrajectoryMatch(steps=20, batch=256),
        policy=Experts(experts=5, fit=EXPERTS, last=5, span=2),
        augment=Siamese(),
        update=Update(lr={"inputs": 100.0, "step_size": 0.1}),
        step_size=0.01,
        iterations=iterations,
    )


@method(FTD, MTT)
def ftd(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Flat trajectory distillation: MTT with experts that find flat minima, and a running mean of S.

    Experts follow gradients taken rho uphill, less a share of what is orthogonal to them (surrogate gap), so that a
    student that has drifted from the expert's trajectory loses less.

    **Reference**: Du et al., CVPR 2023, Section 3.3. From the authors' scripts: rho 0.01, share 0.4, decay 0.9995 over
    5 000 iterations.

    **Differs**: as MTT; the decay is 0.99, in proportion to the fewer iterations. The survey describes FTD as noise on
    the student's start: that is ``policy.noise``.
    """
    plain = mtt(ipc, iterations)
    flat = replace(EXPERTS, rho=0.01, gap=0.4)
    return replace(plain, name="ftd", policy=replace(plain.policy, fit=flat), update=replace(plain.update, ema=0.99))


@method(TESLA, MTT)
def tesla(ipc: int = 1, iterations: int = 200) -> Recipe:
    """MTT at constant memory: each step's share of the derivative is taken with the student's weights held fixed.

    dL/dx_i = -a d<g_i(w_i, x_i), dL/dw_n>/dx_i. This is **not the exact derivative**: that later weights depend on x_i
    is left out. ``mtt`` has the exact one at the same memory. Labels given by each step's expert, as published for many
    classes, are ``labels.name=expert``.

    **Reference**: Cui et al., ICML 2023, Section 3.3.

    **Differs**: as MTT. The factor 2 of the derivative of a square, which the authors' code loses, is kept.
    """
    plain = mtt(ipc, iterations)
    return replace(plain, name="tesla", objective=TrajectoryMatch(steps=20, batch=256, memory="tesla"))


def _gated(ipc: int, shallow: float = 0.0) -> TrajectoryMatch:
    """The match of DATM, which leaves out steps whose loss is large."""
    return TrajectoryMatch(steps=20, batch=256, threshold=1.1 if ipc == 1 else 1.0, shallow=shallow)


@method(DATM, MTT)
def datm(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Difficulty-aligned trajectory matching: a window of starts that grows, soft labels that are learned.

    MTT's loss with t uniform in [t-, T(i)], T growing along the run, so that easy patterns come first; labels are the
    softmax of learned logits, which start as a network trained on T gives them; a step whose loss is above a threshold
    is left out.

    **Reference**: Guo et al., ICLR 2024, Sections 3.2 and 3.3. From the authors' code: threshold 1.1 and rate of labels
    5 at ipc 1, 1 and 2 beyond.

    **Differs**: as MTT. The real images that S starts from are any, not only those that the network classifies
    correctly. The window grows from 2 to 6 over the first half of the run.
    """
    plain = mtt(ipc, iterations)
    growing = Experts(experts=5, fit=EXPERTS, last=2, grown=6, growth=max(1, iterations // 2), span=2)
    rates = {**plain.update.lr, "labels": 5.0 if ipc == 1 else 2.0}
    return replace(
        plain,
        name="datm",
        objective=_gated(ipc),
        policy=growing,
        labels=Soft(EXPERTS),
        update=replace(plain.update, lr=rates),
    )


@method(PAD, DATM, MTT)
def pad(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Prioritised alignment: DATM whose experts see easy items first and only hard ones last, matched in deep layers.

    Experts begin with the easiest 0.75 of each class, see all from a fifth of their training on, and leave the easiest
    0.2 out from 0.6 of it on. Of the parameters, first layer first, the share ``objective.shallow`` is not matched.

    **Reference**: Li et al., 2024. From the authors' code: the shares, and 0 and 0.5 of the parameters at one and at
    ten or more images per class.

    **Differs**: as ``datm``, and see :class:`~ddcore.gate.curriculum.Curriculum`. Their experts also find flat minima
    (``policy.fit.rho=0.01``, ``policy.fit.gap=0.3``), and S is a running mean (``update.ema=0.9995``). On the digits at
    one image per class the curriculum brings nothing: 92.0 ± 0.2 over three seeds, where ``datm`` has 92.2 ± 0.3.
    """
    aligned = datm(ipc, iterations)
    experts = replace(EXPERTS, curriculum=Curriculum())
    return replace(
        aligned,
        name="pad",
        objective=_gated(ipc, shallow=0.0 if ipc == 1 else 0.5),
        policy=replace(aligned.policy, fit=experts),
    )


@method(HABA, MTT)
def haba(ipc: int = 1, iterations: int = 80) -> Recipe:
    """Hallucinators and bases: MTT over images x_ij = h_j(base_i), plus 0.1 times how alike those of one base look.

    Likeness is the mean cosine in the features of a second player, which is trained to find them alike.

    **Reference**: Liu et al., NeurIPS 2022, Eq. 5 and 6; weights, and 0.001 and momentum 0.9 of the second player, from
    the authors' code.

    **Differs**: as MTT. Bases and hallucinators together keep within the bytes of ipc images per class; the published
    five hallucinators come on top of the bases (27 840 values at 3x32x32).
    """
    plain = mtt(ipc, iterations)
    return replace(
        plain,
        name="haba",
        synthetic=Hallucinated(ipc),
        objective=Sum((TrajectoryMatch(steps=20, batch=256), Contrast(0.1))),
        policy=Rival(plain.policy),
        update=replace(plain.update, lr={**plain.update.lr, "hallucinators": 1.0}),
    )
