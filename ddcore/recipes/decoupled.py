"""Methods that decouple S from T: a teacher is trained on T, S is made of what it knows, and labelled by it."""

from dataclasses import replace

from ddcore.augment import Crop
from ddcore.carriers.chosen import Mosaic
from ddcore.carriers.pixels import Pixels
from ddcore.gate import Fit
from ddcore.labels import Taught
from ddcore.networks.convnet import ConvNet
from ddcore.objectives.statistics import StatisticMatch
from ddcore.policies.teacher import Teacher
from ddcore.recipe import Recipe, Update, method
from ddcore.types import Citation

SRE2L = Citation(
    "yin2023sre2l",
    "Yin, Zeyuan and Xing, Eric and Shen, Zhiqiang",
    "Squeeze, Recover and Relabel: Dataset Condensation at ImageNet Scale From A New Perspective",
    "Advances in Neural Information Processing Systems",
    2023,
)
CDA = Citation(
    "yin2024cda",
    "Yin, Zeyuan and Shen, Zhiqiang",
    "Dataset Distillation via Curriculum Data Synthesis in Large Data Era",
    "Transactions on Machine Learning Research",
    2024,
    "article",
)
FKD = Citation(
    "shen2022fkd",
    "Shen, Zhiqiang and Xing, Eric",
    "A Fast Knowledge Distillation Framework for Visual Recognition",
    "European Conference on Computer Vision",
    2022,
)
RDED = Citation(
    "sun2024rded",
    "Sun, Peng and Shi, Bei and Yu, Daiwei and Lin, Tao",
    "On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2024,
)

TEACHER = Fit(steps=600, lr=0.05)


@method(SRE2L, FKD)
def sre2l(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Squeeze, recover, relabel."""
    return Recipe(
        "sre2l",
        synthetic=Pixels(ipc, init="noise"),
        objective=StatisticMatch(weight=0.01),
        policy=Teacher(TEACHER),
        labels=Taught(fit=None),
        network=ConvNet(norm="batch"),
        augment=Crop(low=0.5),
        update=Update(lr={"inputs": 0.25}, optimiser="adam", schedule="cosine", clamp=True),
        iterations=iterations,
    )


@method(CDA, SRE2L)
def cda(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Curriculum data augmentation."""
    plain = sre2l(ipc, iterations)
    return replace(plain, name="cda", augment=Crop(low=0.5, first=1.0))


@method(RDED, FKD)
def rded(ipc: int = 1) -> Recipe:
    """Realistic and diverse."""
    return Recipe(
        "rded",
        synthetic=Mosaic(ipc, fit=TEACHER),
        labels=Taught(fit=None),
        network=ConvNet(norm="batch"),
    )
