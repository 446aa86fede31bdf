"""Methods that decode what a generative model has learned of T."""

from ddcore.carriers.centres import Centres
from ddcore.composition import Recipe, method
from ddcore.papers import PAPERS

D4M = PAPERS["su2024d4m"]


@method(D4M)
def d4m(ipc: int = 1) -> Recipe:
    """Prototypes in latent space: S is decoded from the centres of each class's latents, without a single update.

    x_cj = D(z_cj), where the z_cj are the k-means centres of { E(x) : x in T_c }; E and D are the halves of an
    autoencoder.

    **Reference**: Su et al., CVPR 2024, Section 3.

    **Differs**: the paper's E and D are those of Stable Diffusion, whose model, given the class's name, makes new
    images around the centres, ``ipc`` per class, and a network trained on T gives them shares of the classes, anew for
    each training batch. Ours are small, trained here on T by the mean squared error, and decode the centres themselves;
    centres and decoder are stored instead of images, as many as fit the bytes of ``ipc`` images per class, with their
    classes for targets. ``synthetic.stored=images`` stores ``ipc`` decoded images per class, ``labels.name=soft`` such
    shares, once. Lengths, sizes and rates are ours.

    **Privately**, take ``synthetic.centres=means``, one centre per class, at ipc 1; count the steps of the autoencoder,
    and one more, as ``plugins.private.requests``, and let all draw at one rate: ``synthetic.real`` items of a class are
    to it what ``synthetic.training.batch`` is to T.
    """
    return Recipe("d4m", synthetic=Centres(ipc))
