"""Estimators: what is fitted to a set in the place of a network, for a set must teach what its users fit."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ddcore.bounds import Count, Positive, PositiveShare
from ddcore.evaluation.training_set import TrainingSet
from ddcore.parts import Part
from ddcore.types import Call, DataCard, Draw, Network, Params


class Estimator(Part, kind="estimator"):
    """What is fitted to a set, not trained by gradients."""

    @abstractmethod
    def fitted_to(self, training: TrainingSet, card: DataCard, nets: Sequence[int], seed: int) -> Draw:
        """An ensemble of as many as ``nets`` says, each fitted to all of ``training`` by a seed of its own."""


class Learner(Estimator):
    """One of scikit-learn's, which takes items as flat vectors.

    Classes are learned by a classifier, whose outputs are logarithms of probabilities. Rows of targets, values or one
    score per class, are learned by one regression per column, whose outputs are its predictions.
    """

    @abstractmethod
    def classifier(self, seed: int) -> Any:
        """A fresh classifier with ``predict_proba``, as scikit-learn has them."""

    @abstractmethod
    def regressor(self, seed: int) -> Any:
        """A fresh regressor."""

    def fitted_to(self, training: TrainingSet, card: DataCard, nets: Sequence[int], seed: int) -> Draw:
        inputs, targets = training.take(torch.arange(len(training)))
        x, y = inputs.flatten(1).cpu().numpy(), targets.cpu().numpy()
        with warnings.catch_warnings(action="ignore"):  # solvers that have not converged on a few rows
            if y.ndim == 1:
                each = [(self._fitted(self.classifier(seed + net), x, y),) for net in nets]
            else:
                each = [tuple(self._fitted(self.regressor(seed + net), x, column) for column in y.T) for net in nets]
        outputs = card.outputs
        return Draw(Fitted(each, outputs), {"nets": torch.zeros(len(each))}, {}, ensemble=len(each))

    def _fitted(self, learner: Any, x: np.ndarray, y: np.ndarray) -> Any:
        if len({*y.tolist()}) > 1:
            return learner.fit(x, y)
        from sklearn.dummy import DummyClassifier, DummyRegressor

        return (DummyClassifier() if y.dtype.kind == "i" else DummyRegressor()).fit(x, y)


@dataclass(frozen=True, eq=False)
class Fitted(Network):
    """Fitted learners as an ensemble: each net is one classifier, or one regressor per output."""

    learners: Sequence[tuple[Any, ...]]
    outputs: int

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator: Generator) -> tuple[Params, Params]:
        raise NotImplementedError("Estimators are fitted, and have no start.")

    def apply(self, call: Call, x: Tensor) -> Tensor:
        """Outputs (e, n, k) of ``x`` (e, n, ...); they cannot be differentiated."""
        flat = x.detach().flatten(2).cpu().numpy()
        found = [self._answer(each, items) for each, items in zip(self.learners, flat, strict=True)]
        return torch.from_numpy(np.stack(found)).to(x)

    def _answer(self, learners: tuple[Any, ...], x: np.ndarray) -> np.ndarray:
        if not hasattr(learners[0], "classes_"):
            return np.stack([learner.predict(x) for learner in learners], 1)
        shares = np.full((len(x), self.outputs), np.finfo(np.float32).tiny)
        shares[:, learners[0].classes_] = learners[0].predict_proba(x).clip(np.finfo(np.float32).tiny)
        return np.log(shares)


@dataclass(frozen=True)
class Boosting(Learner):
    """Gradient-boosted trees, scikit-learn's."""

    trees: Count = 100
    """Trees, one after another."""
    depth: Count = 3
    """Splits from the root of a tree to its leaves."""
    lr: Positive = 0.1
    """How much of each tree is added."""
    features: PositiveShare = 0.3
    """Share of the features, drawn anew, among which each split is chosen. Below 1, several features speak where one
    alone tells a few rows apart."""

    def classifier(self, seed: int) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(**self._given(seed))

    def regressor(self, seed: int) -> Any:
        from sklearn.ensemble import GradientBoostingRegressor

        return GradientBoostingRegressor(**self._given(seed))

    def _given(self, seed: int) -> dict[str, Any]:
        return {
            "n_estimators": self.trees,
            "max_depth": self.depth,
            "learning_rate": self.lr,
            "max_features": self.features,
            "random_state": seed,
        }


@dataclass(frozen=True)
class Linear(Learner):
    """A linear model, scikit-learn's: logistic regression of classes, ridge regression of values."""

    penalty: Positive = 1.0
    """Weight of the squared norm of the coefficients, beside the sum of the losses of the items."""

    def classifier(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1 / self.penalty, max_iter=1000)

    def regressor(self, seed: int) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=self.penalty)
