"""Methods that match the distribution of features."""

from ddcore.augment.siamese import Siamese
from ddcore.carriers.codes import Codes
from ddcore.carriers.cosines import Cosines
from ddcore.carriers.formation import Formation
from ddcore.carriers.latents import Latents
from ddcore.carriers.pixels import Pixels
from ddcore.composition import Recipe, method
from ddcore.gate.fit import Fit
from ddcore.kernels import Gaussian
from ddcore.labels.taught import Taught
from ddcore.objectives.combine import Sum
from ddcore.objectives.features import CharacteristicMatch, CovarianceMatch, FeatureMatch
from ddcore.objectives.layers import LayerMatch
from ddcore.objectives.recognised import Recognised
from ddcore.optimisers import Adam
from ddcore.papers import PAPERS
from ddcore.policies.early import Early
from ddcore.policies.experts import Experts
from ddcore.policies.fresh import Fresh
from ddcore.policies.queue import Queue
from ddcore.policies.steady import UntilSteady
from ddcore.policies.trained import TrainedOnReal
from ddcore.schedules import Cosine
from ddcore.update import Update

DM = PAPERS["zhao2023dm"]
CAFE = PAPERS["wang2022cafe"]
KFS = PAPERS["lee2022kfs"]
ITGAN = PAPERS["zhao2022itgan"]
M3D = PAPERS["zhang2024m3d"]
IDM = PAPERS["zhao2023idm"]
FRED = PAPERS["shin2023fred"]
DANCE = PAPERS["zhang2024dance"]
IDC = PAPERS["kim2022idc"]
FKD = PAPERS["shen2022fkd"]
DSDM = PAPERS["li2024dsdm"]
NCFM = PAPERS["wang2025ncfm"]


@method(DM)
def dm(ipc: int = 1, iterations: int = 200) -> Recipe:
    """Distribution matching: min_S sum_c || mean f(A(T_c)) - mean f(A(S_c)) ||^2 over random networks f.

    A is one augmentation per class and step, shared by T and S; f is a freshly initialised ConvNet that is never
    trained.

    **Reference**: Zhao and Bilen, WACV 2023, Eq. 6. From the authors' code: real start, SGD with momentum 0.5.

    **Differs**: 64 items of T per class, and 200 iterations at a rate that falls along a cosine from 3 per image and
    class, suit a small machine: the gradient of one image is in proportion to 1 / ipc. The published runs take 256
    items and 20 000 iterations at a constant 1, or 10 from 100 images per class on (``iterations=20000``,
    ``objective.real=256``, ``update.lr.inputs=1``, ``update.schedule=constant``). On a validation split of the digits,
    one image per class, two seeds: 93.8 so, 94.0 from 3 with 256 items, 94.0 from 1, 92.8 from 10 (one seed).
    """
    return Recipe(
        "dm",
        synthetic=Pixels(ipc, init="real"),
        objective=FeatureMatch(real=64),
        policy=Fresh(),
        augment=Siamese(),
        update=Update(lr={"inputs": 3.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(M3D)
def m3d(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Maximum mean discrepancy: min_S sum_c MMD_k( f(A(T_c)), f(A(S_c)) )^2 over random networks f, k Gaussian.

    So all moments of the features are matched, where ``dm`` matches their means. S is cut into tiles as in ``idc``, and
    each network serves several steps.

    **Reference**: Zhang et al., AAAI 2024: the kernel, tiles, and several steps per network.

    **Differs**: the kernel is estimated by random features (:class:`~ddcore.objectives.features.FeatureMatch`), and its
    unit is the distance within S. Its five widths, the steps of a network and the rates are ours. On the digits at one
    image per class it has 96.5 ± 0.2 over three seeds, and 94.6 ± 1.6 by means (``objective.kernel=none``).
    """
    return Recipe(
        "m3d",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=FeatureMatch(real=64, kernel=Gaussian()),
        policy=TrainedOnReal(rounds=1, steps=5),
        augment=Siamese(),
        update=Update(lr={"inputs": 30.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(M3D, IDC, FKD)
def taught_tiles(ipc: int = 1, iterations: int = 150) -> Recipe:
    """Taught tiles: as many items of four bits per value as the bytes hold, matched as in ``m3d``, taught labels.

    S is stored at 4 bits: the bytes of a float32 image hold eight. Below ten images per class each of these is cut into
    tiles as in ``idc``, which makes it 32 items. A network trained on T says at the end what share of each class an
    item shows, by its softmax at temperature 2.

    **References**: Zhang et al., AAAI 2024, for the objective; Kim et al., ICML 2022, for the tiles; Shen and Xing,
    ECCV 2022, for the labels.

    **Differs**: a composition of our own, chosen on validation splits (width 32, one seed, two networks). FashionMNIST,
    one image per class: 80.2, at temperature 1 79.3, and there at 8 bits 78.2. MNIST at temperature 1: 95.8, and 94.2
    at 8 bits. FashionMNIST, ten images: what counts are bits and labels. Real images, taught, have 82.0 at 8 bits, 84.2
    at 4, and 85.6 at temperature 2 by a teacher of 2 000 steps; 2 bits have no more than 4, one bit 81.7, tiles 80.3.
    Learned at a rate of 250 they have 85.2, of 1 000 85.9 (one network): hardly more than chance.
    """
    factor = 2 if ipc < 10 else 1
    return Recipe(
        "taught_tiles",
        synthetic=Formation(ipc, factor=factor, init="real", coarse=4),
        objective=FeatureMatch(real=64, kernel=Gaussian()),
        policy=TrainedOnReal(rounds=1, steps=5),
        labels=Taught(fit=Fit(steps=1200, lr=0.05, schedule=Cosine()), temperature=2.0),
        augment=Siamese(),
        update=Update(lr={"inputs": 100.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(IDM)
def idm(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Improved distribution matching: min_S sum_c || mean f(A(T_c)) - mean f(A(S_c)) ||^2 + b CE( z(A(S_c)), c ).

    S is cut into tiles as in ``idc``; f and z are of networks of many ages, drawn from a queue that is trained on T.

    **Reference**: Zhao et al., CVPR 2023, Sections 4.1 to 4.3. From the authors' code: real tiles, b = 0.5, SGD with
    momentum 0.5.

    **Differs**: b is constant; in the authors' code it is multiplied by the network's running accuracy on T in percent.
    S takes one step for all classes, not one after each, and the two terms draw augmentations of their own. A queue of
    20 networks, a fresh one every 5 steps, 5 batches of 64 between two steps, 64 items of T per class and 100
    iterations at a rate that falls along a cosine suit a small machine; published are 100 networks, 256 items and
    20 000 iterations at 0.2.
    """
    return Recipe(
        "idm",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=Sum((FeatureMatch(real=64), Recognised(0.5))),
        policy=Queue(networks=20, every=5, fit=Fit(steps=5)),
        augment=Siamese(),
        update=Update(lr={"inputs": 3.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(DANCE)
def dance(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Dual-view alignment: min_S sum_c || mean f(A(T_c)) - mean f(A(S_c)) ||^2 + b CE( z*(A(S_c)), c ).

    f is of a network at a random place between an expert's start and its end, z* the outputs of the expert at its end:
    S is matched with T along a whole training of which two points are kept, and stays where experts see its classes.

    **Reference**: Zhang et al., IJCAI 2024: middle encoders, calibration by experts.

    **Differs**: S is cut into tiles as in ``idc``. The two terms draw augmentations of their own. Five experts of 200
    steps, the place, uniform from start to end, b, rates and lengths are ours.
    """
    return Recipe(
        "dance",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=Sum((FeatureMatch(real=64), Recognised(0.5, expert=True))),
        policy=Experts(experts=5, fit=Fit(steps=200), last=0, span=1, along=1.0),
        augment=Siamese(),
        update=Update(lr={"inputs": 3.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(DSDM)
def dsdm(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Diversified semantic matching: means and covariances of each class, at networks that were trained on T.

    min_S sum_c || mean f(A(T_c)) - mean f(A(S_c)) ||^2 + b / d || C f(A(T_c)) - C f(A(S_c)) ||_F^2, C f the covariance
    of the d features of one of a few networks. S is cut into tiles as in ``idc``, so that a class has a covariance.

    **Reference**: Li et al., ACM MM 2024: networks trained beforehand, prototypes, semantic diversity. From the
    authors' code: tiles.

    **Differs**: see :class:`~ddcore.objectives.features.CovarianceMatch`. No third term draws the means of S to those
    that it had at earlier networks, whose features are others; what the networks differ by is evened out by the
    momentum and the falling rate. b = 20, five networks of 100 steps, rates and lengths are ours. Covariances bring
    little on the digits at one image per class (validation split, two seeds): 95.0 ± 0.7 with them and 95.4 ± 0.3 by
    means alone (``objective.weight=0``); at a rate of 10 95.0 ± 0.4 with b = 2, and 93.6 ± 0.4 by means alone.
    """
    return Recipe(
        "dsdm",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=CovarianceMatch(real=64, weight=20.0),
        policy=Early(networks=5, fit=Fit(steps=100)),
        augment=Siamese(),
        update=Update(lr={"inputs": 3.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(NCFM)
def ncfm(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Characteristic function matching: min_S sum_c mean_u D_u( f(A(T_c)), f(A(S_c)) ) + b CE( z*(A(S_c)), c ).

    D_u is how far the characteristic functions of two sets of features are apart at the frequency u, in amplitude and
    phase. f and z* are of an expert as in ``dance``, and S is cut into tiles as in ``idc``.

    **Reference**: Wang et al., CVPR 2025. From the authors' code: a = 0.5, networks between the start and the end of a
    training on T, tiles, the second term, and that no frequencies are learned in its configurations of CIFAR-10.

    **Differs**: see :class:`~ddcore.objectives.features.CharacteristicMatch`. Published are minmax and gains by it: the
    largest D_u of many count with ``worst=0.25`` of the first term. On a validation split of the digits, one
    image per class, two seeds, that has 96.0 ± 0.0, and all frequencies alike 96.8 ± 0.2, so this is the default. b,
    experts, rates and lengths are ours; published are 20 networks, 4 096 frequencies, 1 024 items of T and 20 000
    iterations.
    """
    return Recipe(
        "ncfm",
        synthetic=Formation(ipc, factor=2, init="real"),
        objective=Sum((CharacteristicMatch(real=64), Recognised(0.05, expert=True))),
        policy=Experts(experts=5, fit=Fit(steps=200), last=0, span=1, along=1.0),
        augment=Siamese(),
        update=Update(lr={"inputs": 30.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(CAFE)
def cafe(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Feature alignment: the means of every layer, and class centres of S that tell the items of T apart.

    min_S sum_c sum_l w_l || mean f_l(T_c) - mean f_l(S_c) ||^2 + b sum_n -log softmax( M f(x_n) )[y_n], over networks
    that are trained on S once S has become steady at them.

    **Reference**: Wang et al., CVPR 2022, Sections 3.2 to 3.4. From the authors' code: layer weights 1, 1, 0.1, 0.1,
    thresholds 0.04 and 0.03, S by SGD.

    **Differs**: which layer has which weight is read as first to last; f in the second term is the input of the last
    layer; window lengths and limits of the loops are ours, and so are the start from real images, the momentum, the
    number of rounds of a network and its rate of 0.1. Siamese augmentation is on (the published option ``--method
    DSA``; ``augment=none`` for the plain one). 300 iterations with 64 items of T per class and b = 0.2, at a rate that
    falls from 0.1 along a cosine, suit a small machine; the published runs take 2 000 iterations and b = 0.01
    (``objective.discrimination=0.01``), at 0.1 halved at 1 200, 1 600 and 1 800.

    **Privately**, each update makes up to three requests, and each epoch of training on S one: set
    ``plugins.private.requests``.
    """
    return Recipe(
        "cafe",
        synthetic=Pixels(ipc, init="real"),
        objective=LayerMatch(discrimination=0.2, real=64),
        policy=UntilSteady(window=3, rounds=4, steps=5, real=32, lr=0.1),
        augment=Siamese(),
        update=Update(lr={"inputs": 0.1}, schedule=Cosine()),
        iterations=iterations,
    )


@method(FRED, DM)
def fred(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Frequency domain: S is the few cosine coefficients of many images, learned by distribution matching.

    min_z sum_c || mean f(A(T_c)) - mean_j f(A(C' z_cj)) ||^2 over random networks f, as in ``dm``; C' is the inverse
    cosine transform, and z_cj hold the frequencies of the most energy in T.

    **Reference**: Shin et al., NeurIPS 2023, Section 3, with the objective of Zhao and Bilen, WACV 2023, one of those
    that the paper tries.

    **Differs**: see :class:`~ddcore.carriers.cosines.Cosines`. A quarter of the coefficients, 64 items of T per class,
    rates and lengths are ours.
    """
    return Recipe(
        "fred",
        synthetic=Cosines(ipc, init="real"),
        objective=FeatureMatch(real=64),
        policy=Fresh(),
        augment=Siamese(),
        update=Update(lr={"inputs": 3.0 * ipc}, schedule=Cosine()),
        iterations=iterations,
    )


@method(KFS)
def kfs(ipc: int = 1, iterations: int = 400) -> Recipe:
    """Factorised distribution matching: S is every code of a class through every one of a few shared decoders.

    min_{z, g} sum_c || mean f(A(T_c)) - mean_{j, d} f(A(g_d(z_cj))) ||^2 over random networks f, as in ``dm``; codes
    and decoders together take no more bytes than ``ipc`` images per class.

    **Reference**: Lee et al., 2022.

    **Differs**: there is no public code, so sizes, rates and the start are ours: two decoders of one hidden layer,
    codes at a quarter of the sides that are first fitted to real images, Adam. Codes and decoders grow with the root of
    ipc: at 4 images per class of FashionMNIST (validation items, ConvNet of width 16, 50 iterations) 15 codes of 4
    channels have 74.3 ± 0.3 and 31 of 2, the size for 1 image per class, 73.2 ± 1.9. 400 iterations with 64 items of T
    and at most 32 of S per class suit a small machine.
    """
    return Recipe(
        "kfs",
        synthetic=Codes(ipc, init="real"),
        objective=FeatureMatch(real=64, batch=32),
        policy=Fresh(),
        augment=Siamese(),
        update=Update(lr={"inputs": 0.1, "decoders": 0.02}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
        iterations=iterations,
    )


@method(ITGAN)
def it_gan(ipc: int = 1, iterations: int = 400) -> Recipe:
    """Informative samples of a generator: its latents are learned by distribution matching, it is fixed.

    min_z sum_c || mean f(A(T_c)) - mean_j f(A(G(z_cj, c))) ||^2 over random networks f, as in ``dm``; G is a
    class-conditional generator trained on T beforehand.

    **Reference**: Zhao and Bilen, 2022, Section 3.

    **Differs**: the generator is a small one of our own, trained here, and counts among the bytes: it and the latents
    together take no more than ``ipc`` images per class. Latents start herded towards the class means instead of as
    inversions of real images, and there is no diversity regulariser. Only an evaluator is public, so rates and lengths
    are ours: 1 000 steps of the generator, then 400 with 64 items of T per class.

    **Privately**, ``plugins.private.requests`` must count the generator's training steps and one more besides the
    updates.
    """
    return Recipe(
        "it_gan",
        synthetic=Latents(ipc),
        objective=FeatureMatch(real=64),
        policy=Fresh(),
        augment=Siamese(),
        update=Update(lr={"inputs": 0.2}, optimiser=Adam(betas=(0.5, 0.999)), schedule=Cosine()),
        iterations=iterations,
    )
