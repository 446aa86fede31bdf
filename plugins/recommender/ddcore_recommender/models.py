"""Recommenders: fitted to histories, they score all items for a user."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd

Scorer = Callable[[Tensor], Tensor]
"""Histories (n, m) to a score for each item (n, m)."""


HELD = 0.5
"""How much of an item a drawn history has for ALS, which counts every number but 0 as an interaction."""


class Recommender(dd.Estimator):
    """What scores items for a user."""

    suits = frozenset({"history"})

    @abstractmethod
    def fit(self, histories: Tensor, seed: int) -> Scorer:
        """The scores that follow from ``histories`` (n, m), in float64."""

    def fitted_to(self, training: dd.TrainingSet, card: dd.DataCard, nets: Sequence[int], seed: int) -> dd.Draw:
        histories, _ = training.take(torch.arange(len(training)))
        each = [self.fit(histories.cpu().double(), seed + net) for net in nets]
        return dd.Draw(Scored(each), {"nets": torch.zeros(len(each))}, {}, ensemble=len(each))


@dataclass(frozen=True, eq=False)
class Scored(dd.Network):
    """Fitted recommenders as an ensemble."""

    scorers: Sequence[Scorer]

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[dd.Params, dd.Params]:
        raise NotImplementedError("Recommenders are fitted, and have no start.")

    def apply(self, call: dd.Call, x: Tensor) -> Tensor:
        """Scores (e, n, m) of histories (e, n, m)."""
        each = zip(self.scorers, x.detach().cpu().double(), strict=True)
        return torch.stack([scorer(histories) for scorer, histories in each]).to(x)


@dataclass(frozen=True)
class Popular(Recommender):
    """The items that most histories hold, for everybody."""

    def fit(self, histories: Tensor, seed: int) -> Scorer:
        counts = histories.sum(0)
        return lambda seen: counts.expand(len(seen), -1)


@dataclass(frozen=True)
class InfiniteAutoencoder(Recommender):
    """Kernel ridge regression of a history from itself: an infinitely wide autoencoder of one hidden layer.

    K(x, S) (K(S, S) + l d I)^-1 S, K the neural tangent kernel and d the mean of K's diagonal.

    **Reference**: Sachdeva et al., Infinite Recommendation Networks, NeurIPS 2022, Section 3.
    """

    ridge: dd.Positive = 3.0
    """l. What suits thousands of users is too much for a few."""
    kernel: dd.Kernel = dd.DenseTangent()
    """K."""

    def fit(self, histories: Tensor, seed: int) -> Scorer:
        return dd.kernel_regression(self.kernel, histories, histories, self.ridge)


@dataclass(frozen=True)
class EASE(Recommender):
    """A linear autoencoder without a diagonal: X B with B = I - P / diag P, P = (S'S + l I)^-1.

    **Reference**: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
    """

    ridge: dd.Positive = 0.1
    """l, in units of the mean of the diagonal of S'S times the number of items a user has."""

    def fit(self, histories: Tensor, seed: int) -> Scorer:
        gram = histories.T @ histories
        shift = self.ridge * gram.diagonal().mean() * histories.sum(1).mean()
        inverse = torch.linalg.inv(gram + shift.clamp_min(1e-9) * torch.eye(len(gram)).to(gram))
        between = -inverse / inverse.diagonal()
        return lambda seen: seen @ between.fill_diagonal_(0)


@dataclass(frozen=True)
class ALS(Recommender):
    """Matrix factors by alternating least squares, of the library implicit, which is to be installed.

    **Reference**: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.
    """

    factors: dd.Count = 32
    """Numbers of a user or an item."""
    rounds: dd.Count = 15
    """How often users and items take turns."""
    weight: dd.Positive = 10.0
    """How much more an interaction counts than its absence."""

    def check(self, recipe: object, card: dd.DataCard, network: dd.Network) -> None:
        _implicit()

    def fit(self, histories: Tensor, seed: int) -> Scorer:
        from scipy.sparse import csr_matrix

        model = _implicit()(
            factors=self.factors, iterations=self.rounds, alpha=self.weight, random_state=seed, num_threads=1
        )
        held = histories.float() * (histories >= HELD)
        model.fit(csr_matrix(held.numpy()), show_progress=False)
        items = torch.from_numpy(model.item_factors).double()

        def scorer(seen: Tensor) -> Tensor:
            users = model.recalculate_user(torch.arange(len(seen)).numpy(), csr_matrix(seen.float().numpy()))
            return torch.from_numpy(users).double() @ items.T

        return scorer


def _implicit():
    """The model of the library. Raises RecipeRefused where it is not installed."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        raise dd.RecipeRefused(
            "ALS needs the library implicit, which is not installed: pip install 'ddcore-recommender[als]'."
        ) from None
    return AlternatingLeastSquares
