"""Methods that decode what a generative model has learned of T."""

from ddcore.carriers.centres import Centres
from ddcore.labels import Soft
from ddcore.recipe import Recipe, method
from ddcore.types import Citation

D4M = Citation(
    "su2024d4m",
    "Su, Duo and Hou, Junjie and Gao, Weizhi and Tian, Yingjie and Tang, Bowen",
    "D4M: Dataset Distillation via Disentangled Diffusion Model",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2024,
)


@method(D4M)
def d4m(ipc: int = 1) -> Recipe:
    """Prototypes in latent space: S is decoded from the centres of each class's latents, without a single update.

    x_cj = D(z_cj), where z_c1 to z_c,ipc are the k-means centres of { E(x) : x in T_c }; E and D are the halves of an
    autoencoder. Targets are the shares of the classes that a network gives to S which was trained on T (Su et al.,
    CVPR 2024, Section 3).

    Differs: the paper's E and D are those of Stable Diffusion, whose model, told the class's name, makes new images
    around the centres. Ours are small, trained here on T by the mean squared error, and decode the centres
    themselves. The shares are stored once, instead of anew for each training batch. Lengths, sizes and rates are
    ours. ``labels.name=hard`` leaves the shares out; ``synthetic.stored=codes`` stores centres and decoder in the
    place of images: as many as fit the same bytes.

    Privately, take ``synthetic.centres=means``, a centre a class, and count the steps of the autoencoder and of the
    labels' network, and one more, as ``plugins.private.requests``.
    """
    return Recipe("d4m", synthetic=Centres(ipc), labels=Soft())
