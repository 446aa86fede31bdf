"""Methods that match the distribution of features."""

from ddcore.augment import Siamese
from ddcore.carriers.pixels import Pixels
from ddcore.objectives.features import FeatureMatch
from ddcore.policies.fresh import Fresh
from ddcore.recipe import Recipe, Update, method
from ddcore.types import Citation

DM = Citation(
    "zhao2023dm",
    "Zhao, Bo and Bilen, Hakan",
    "Dataset Condensation with Distribution Matching",
    "IEEE/CVF Winter Conference on Applications of Computer Vision",
    2023,
)


@method(DM)
def dm(ipc: int = 1, iterations: int = 1000) -> Recipe:
    """Distribution matching: min_S sum_c || mean f(A(T_c)) - mean f(A(S_c)) ||^2 over random networks f.

    A is one augmentation a class and step, shared by T and S; f is a freshly initialised ConvNet that is
    never trained (Zhao and Bilen, WACV 2023, Eq. 6). Defaults from the authors' code: real start, 256 items
    of T a class, SGD with momentum 0.5 at 1.0, or 10 from 100 images per class on.

    Differs: 1 000 iterations, along which the rate falls as a cosine to zero, suit a small machine; the published
    runs take 20 000 at a constant rate (``iterations=20000``, ``update.schedule=constant``).
    """
    return Recipe(
        "dm",
        synthetic=Pixels(ipc, init="real"),
        objective=FeatureMatch(real=256),
        policy=Fresh(),
        augment=Siamese(),
        update=Update(lr={"inputs": 1.0 if ipc < 100 else 10.0}, momentum=0.5, schedule="cosine"),
        iterations=iterations,
    )
