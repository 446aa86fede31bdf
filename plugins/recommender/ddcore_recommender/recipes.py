"""Distill-CF, and the users with the longest histories."""

from ddcore import plugin as dd
from ddcore_recommender.kind import History, Itself
from ddcore_recommender.users import HeadUsers, SampledUsers

DISTILL_CF = dd.Citation(
    "sachdeva2022infinite",
    "Sachdeva, Noveen and Dhaliwal, Mehak Preet and Wu, Carole-Jean and McAuley, Julian",
    "Infinite Recommendation Networks: A Data-Centric Approach",
    "NeurIPS",
    2022,
)


@dd.method(DISTILL_CF)
def distill_cf(ipc: int = 200, iterations: int = 300) -> dd.Recipe:
    """Distill-CF: min_S E || x - K(x, S) (K(S, S) + l d I)^-1 S ||^2 / 2, S drawn from learned users.

    K is the tangent kernel of an infinitely wide autoencoder of one hidden layer: no network is trained. ``ipc`` is the
    number of synthetic users.

    **Reference**: Sachdeva et al., NeurIPS 2022, Eq. 5. From the authors' code: Adam, Gumbel sampling.

    **Differs**: a start from real histories, 30 draws of a user at temperature 0.5 (published: 200 at 10) and 300 steps
    of 256 users at a rate that falls from 0.5 along a cosine (published: 500 at 0.04) suit a small machine; no L1 term,
    whose place the number of draws takes; l is 3 in units of the mean of K's diagonal.
    """
    return dd.Recipe(
        "distill_cf",
        synthetic=SampledUsers(ipc),
        objective=dd.TangentRidge(real=256, ridge=3.0, kernel=dd.DenseTangent()),
        labels=Itself(),
        network=History().network,
        preprocess=dd.Identity(),
        update=dd.Update(lr={"inputs": 0.5}, optimiser=dd.Adam(), schedule=dd.Cosine()),
        iterations=iterations,
    )


@dd.method(DISTILL_CF)
def head_users(ipc: int = 200) -> dd.Recipe:
    """The ``ipc`` real users with the longest histories: the baseline of the paper."""
    return dd.Recipe(
        "head_users",
        synthetic=HeadUsers(ipc),
        labels=Itself(),
        network=History().network,
        preprocess=dd.Identity(),
    )
