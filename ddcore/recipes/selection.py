"""Methods that choose real images: the baselines of every comparison."""

from ddcore.carriers.chosen import Herding, Random
from ddcore.carriers.ranked import Covering, Forgotten, Scored
from ddcore.composition import Recipe, method
from ddcore.papers import PAPERS

SURVEY = PAPERS["lei2024survey"]
WELLING = PAPERS["welling2009herding"]
ICARL = PAPERS["rebuffi2017icarl"]
EL2N = PAPERS["paul2021el2n"]
FORGETTING = PAPERS["toneva2019forgetting"]
CORE_SET = PAPERS["sener2018coreset"]


@method(SURVEY)
def random(ipc: int = 1) -> Recipe:
    """``ipc`` real images per class, uniformly without replacement.

    **Reference**: the lower baseline of the survey's Table 1 (Lei and Tao, TPAMI 2024).
    """
    return Recipe("random", synthetic=Random(ipc))


@method(WELLING, ICARL)
def herding(ipc: int = 1) -> Recipe:
    """``ipc`` real images per class whose mean feature follows the class mean, chosen greedily.

    x_{t+1} = argmin_x || mu_c - (f(x) + sum_{s <= t} f(x_s)) / (t + 1) ||, with f a network trained on T.

    **Reference**: Rebuffi et al., CVPR 2017, Algorithm 4.

    **Differs**: features are not scaled to unit length; no image is taken twice.
    """
    return Recipe("herding", synthetic=Herding(ipc))


@method(EL2N)
def el2n(ipc: int = 1) -> Recipe:
    """``ipc`` real images per class, chosen by the error of a network that was trained on T for a short time.

    The items of each class with the lowest score || softmax( f(x) ) - onehot(y) ||.

    **Reference**: Paul et al., NeurIPS 2021, Section 2.

    **Differs**: the easiest items of each class, of which few represent it better; the paper keeps the hardest, half of
    T and more (``synthetic.keeps=hard``).
    """
    return Recipe("el2n", synthetic=Scored(ipc))


@method(FORGETTING)
def forgetting(ipc: int = 1) -> Recipe:
    """``ipc`` real images per class, chosen by how often a network forgets them while it is trained on T.

    The items of each class with the fewest events #{ t : f_t(x) = y and f_{t+1}(x) != y }; chance among equals.

    **Reference**: Toneva et al., ICLR 2019, Section 2.

    **Differs**: the least forgotten items, of which few represent a class better; the paper keeps the most forgotten
    (``synthetic.keeps=hard``), over a whole training.
    """
    return Recipe("forgetting", synthetic=Forgotten(ipc))


@method(CORE_SET)
def k_center(ipc: int = 1) -> Recipe:
    """``ipc`` real images per class that cover it: x_{t+1} = argmax_x min_{s <= t} || f(x) - f(x_s) ||.

    f is the features of a network trained on T; the first is the nearest to the class mean.

    **Reference**: Sener and Savarese, ICLR 2018, Algorithm 1.

    **Differs**: each class by itself, in one go, without their refinement by integer programs.
    """
    return Recipe("k_center", synthetic=Covering(ipc))
