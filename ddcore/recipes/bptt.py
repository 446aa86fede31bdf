"""Methods that differentiate through training on S."""

from ddcore.augment import Siamese
from ddcore.carriers.chosen import Herding
from ddcore.carriers.latents import Latents
from ddcore.carriers.memory import Memory
from ddcore.carriers.pixels import Pixels
from ddcore.labels import Soft
from ddcore.objectives.bptt import Bptt
from ddcore.policies.trained import TrainedOnSynthetic
from ddcore.recipe import Recipe, Update, method
from ddcore.types import Citation

DD = Citation(
    "wang2018dd",
    "Wang, Tongzhou and Zhu, Jun-Yan and Torralba, Antonio and Efros, Alexei A.",
    "Dataset Distillation",
    "arXiv preprint arXiv:1811.10959",
    2018,
    "article",
)
LD = Citation(
    "bohdal2020ld",
    "Bohdal, Ondrej and Yang, Yongxin and Hospedales, Timothy",
    "Flexible Dataset Distillation: Learn Labels Instead of Images",
    "arXiv preprint arXiv:2006.08572",
    2020,
    "article",
)
RTP = Citation(
    "deng2022rtp",
    "Deng, Zhiwei and Russakovsky, Olga",
    "Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks",
    "Advances in Neural Information Processing Systems",
    2022,
)
GTN = Citation(
    "such2020gtn",
    "Such, Felipe Petroski and Rawal, Aditya and Lehman, Joel and Stanley, Kenneth and Clune, Jeffrey",
    "Generative Teaching Networks: Accelerating Neural Architecture Search by Learning to Generate Synthetic Training"
    " Data",
    "International Conference on Machine Learning",
    2020,
)


@method(DD)
def dd(ipc: int = 1, iterations: int = 100) -> Recipe:
    """Dataset distillation: min_{S, a} l_T( w_n ), w_{i+1} = w_i - a_i grad l_{S_i}( w_i ), from fresh w_0."""
    return Recipe(
        "dd",
        synthetic=Pixels(ipc, init="real"),
        objective=Bptt(steps=30, each=True, ordered=True),
        update=Update(lr={"inputs": 0.02, "step_size": 0.02}, optimiser="adam", schedule="cosine"),
        step_size=0.02,
        iterations=iterations,
    )


@method(LD)
def ld(ipc: int = 1, iterations: int = 300) -> Recipe:
    """Label distillation: min_Y l_T( w - a grad l_{(X, Y)}( w ) ) with real images X that stay as they are."""
    return Recipe(
        "ld",
        synthetic=Herding(ipc),
        objective=Bptt(steps=1, lr=0.05),
        policy=TrainedOnSynthetic(rounds=20, epochs=5, lr=0.05),
        labels=Soft(None),
        update=Update(lr={"labels": 0.1}, optimiser="adam", schedule="cosine"),
        iterations=iterations,
    )


@method(RTP)
def rtp(ipc: int = 1, iterations: int = 60) -> Recipe:
    """Remember the past."""
    return Recipe(
        "rtp",
        synthetic=Memory(ipc, init="real"),
        objective=Bptt(steps=30, batch=60, lr=0.02, momentum=0.9, window=10),
        augment=Siamese(),
        update=Update(lr={"inputs": 0.01, "bases": 0.01}, optimiser="adam", clip=2.0, schedule="cosine"),
        iterations=iterations,
    )


@method(GTN)
def gtn(ipc: int = 1, iterations: int = 60) -> Recipe:
    """Generative teaching network."""
    return Recipe(
        "gtn",
        synthetic=Latents(ipc, learned=True),
        objective=Bptt(steps=15, batch=40, each=True, ordered=True, momentum=0.5, checks=3),
        update=Update(lr={"inputs": 0.02, "generator": 0.002, "step_size": 0.02}, optimiser="adam"),
        step_size=0.02,
        iterations=iterations,
    )
