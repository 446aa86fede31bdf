"""Methods that fit a kernel ridge regression to S and lower its loss on T."""

from ddcore.carriers.pixels import Pixels
from ddcore.kernels import ConvTangent
from ddcore.labels import Vectors
from ddcore.networks.convnet import ConvNet
from ddcore.objectives.ridge import KernelRidge, TangentRidge
from ddcore.policies.pool import Pool
from ddcore.policies.side_by_side import SideBySide
from ddcore.recipe import Recipe, Update, method
from ddcore.types import Citation

KIP = Citation(
    "nguyen2021kip",
    "Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon",
    "Dataset Meta-Learning from Kernel Ridge-Regression",
    "International Conference on Learning Representations",
    2021,
)
KIP_INFINITE = Citation(
    "nguyen2021infinitely",
    "Nguyen, Timothy and Novak, Roman and Xiao, Lechao and Lee, Jaehoon",
    "Dataset Distillation with Infinitely Wide Convolutional Networks",
    "Advances in Neural Information Processing Systems",
    2021,
)
FREPO = Citation(
    "zhou2022frepo",
    "Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy",
    "Dataset Distillation using Neural Feature Regression",
    "Advances in Neural Information Processing Systems",
    2022,
)
RFAD = Citation(
    "loo2022rfad",
    "Loo, Noel and Hasani, Ramin and Amini, Alexander and Rus, Daniela",
    "Efficient Dataset Distillation Using Random Feature Approximation",
    "Advances in Neural Information Processing Systems",
    2022,
)


@method(KIP, KIP_INFINITE)
def kip(ipc: int = 1, iterations: int = 300) -> Recipe:
    return Recipe(
        "kip",
        synthetic=Pixels(ipc, init="real"),
        objective=TangentRidge(real=256, kernel=ConvTangent(depth=3)),
        labels=Vectors(centred=True, learned=False, loss="squared"),
        update=Update(lr={"inputs": 0.04}, optimiser="adam", momentum=0.9, schedule="cosine"),
        iterations=iterations,
    )


@method(FREPO)
def frepo(ipc: int = 1, iterations: int = 500) -> Recipe:
    return Recipe(
        "frepo",
        synthetic=Pixels(ipc, init="real"),
        objective=KernelRidge(real=256, flip=True),
        policy=Pool(),
        labels=Vectors(centred=True, loss="squared"),
        update=Update(lr={"inputs": 0.01, "labels": 0.01}, optimiser="adam", momentum=0.9, schedule="cosine"),
        iterations=iterations,
    )


@method(RFAD)
def rfad(ipc: int = 1, iterations: int = 500) -> Recipe:
    return Recipe(
        "rfad",
        synthetic=Pixels(ipc, init="real"),
        objective=KernelRidge(real=256, ridge=5e-3),
        policy=SideBySide(networks=8),
        labels=Vectors(centred=True, loss="squared", temperature=1.0),
        network=ConvNet(norm="none"),
        update=Update(
            lr={"inputs": 0.01, "labels": 0.01, "temperature": 0.01}, optimiser="adam", momentum=0.9, schedule="cosine"
        ),
        iterations=iterations,
    )
