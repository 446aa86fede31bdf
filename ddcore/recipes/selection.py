"""Methods that choose real images: the baselines of every comparison."""

from ddcore.carriers.chosen import Herding, Random
from ddcore.composition import Recipe, method
from ddcore.papers import PAPERS

SURVEY = PAPERS["lei2024survey"]
WELLING = PAPERS["welling2009herding"]
ICARL = PAPERS["rebuffi2017icarl"]


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
