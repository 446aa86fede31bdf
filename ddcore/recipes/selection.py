"""Methods that choose real images: the baselines of every comparison."""

from ddcore.carriers.chosen import Herding, Random
from ddcore.composition import Recipe, method
from ddcore.types import Citation

SURVEY = Citation(
    "lei2024survey",
    "Lei, Shiye and Tao, Dacheng",
    "A Comprehensive Survey of Dataset Distillation",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    2024,
    "article",
)
WELLING = Citation(
    "welling2009herding",
    "Welling, Max",
    "Herding Dynamical Weights to Learn",
    "International Conference on Machine Learning",
    2009,
)
ICARL = Citation(
    "rebuffi2017icarl",
    "Rebuffi, Sylvestre-Alvise and Kolesnikov, Alexander and Sperl, Georg and Lampert, Christoph H.",
    "iCaRL: Incremental Classifier and Representation Learning",
    "IEEE Conference on Computer Vision and Pattern Recognition",
    2017,
)


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
