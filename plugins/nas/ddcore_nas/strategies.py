"""How a search goes through a space: what is tried next, and what is given up early."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddcore import plugin as dd
from ddcore_nas.papers import ASHA, EVOLUTION

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

NEEDS_OPTUNA = "A search needs optuna, which is not installed. Try: pip install 'ddcore-nas[search]'"


class Strategy(dd.Part, kind="strategy"):
    """How a search goes through a space."""

    trials: int
    """Architectures that are tried."""

    @property
    @abstractmethod
    def lengths(self) -> Sequence[int]:
        """Steps for which each is trained, one after another, until it is given up."""

    @abstractmethod
    def sampler(self, seed: int) -> BaseSampler:
        """What chooses the next architecture."""

    @abstractmethod
    def pruner(self) -> BasePruner:
        """What gives an architecture up between two lengths."""


@dataclass(frozen=True)
class Halving(Strategy):
    """Random architectures, of which one in ``reduction`` goes on at each length: successive halving.

    **Reference**: Li et al., MLSys 2020, Algorithm 2, by optuna.

    **Differs**: a longer training starts anew, along its own schedule.
    """

    cites = (ASHA,)

    trials: dd.Count = 32
    """Architectures that are tried."""
    lengths: tuple[dd.Count, ...] = (8, 32, 128)  # type: ignore[override, assignment]
    """Steps for which each is trained, one after another, until it is given up."""
    reduction: dd.Count = 3
    """One in so many goes on, at least 2."""

    def faults(self) -> Iterator[str]:
        if self.reduction < 2:
            yield f"reduction = {self.reduction}: at least one in 2 must be given up"
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)):
            yield f"lengths = {list(self.lengths)}: give at least one, ascending"

    def sampler(self, seed: int) -> BaseSampler:
        return _optuna().samplers.RandomSampler(seed=seed)

    def pruner(self) -> BasePruner:
        return _optuna().pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=self.reduction)


@dataclass(frozen=True)
class Evolution(Strategy):
    """The best of a few of the youngest architectures, with one decision changed: regularised evolution.

    **Reference**: Real et al., AAAI 2019, Algorithm 1.

    **Differs**: the first ``population`` are random, all are trained for one length.
    """

    cites = (EVOLUTION,)

    trials: dd.Count = 64
    """Architectures that are tried."""
    length: dd.Count = 32
    """Steps for which each is trained."""
    population: dd.Count = 16
    """The youngest architectures, from which parents come."""
    sample: dd.Count = 5
    """How many of these are drawn for each parent, which is the best of them."""

    def faults(self) -> Iterator[str]:
        if self.sample > self.population:
            yield f"sample = {self.sample}: it must be at most population = {self.population}"

    @property
    def lengths(self) -> tuple[int, ...]:
        return (self.length,)

    def sampler(self, seed: int) -> BaseSampler:
        return _ageing()(self.population, self.sample, seed)

    def pruner(self) -> BasePruner:
        return _optuna().pruners.NopPruner()


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise dd.RecipeRefused(f"{NEEDS_OPTUNA}.") from error
    return optuna


def _ageing() -> Any:
    """The sampler of regularised evolution: a class of optuna's, which is imported where it is used."""
    optuna = _optuna()

    class Ageing(optuna.samplers.BaseSampler):
        def __init__(self, population: int, sample: int, seed: int) -> None:
            self.population, self.sample, self.random = population, sample, random.Random(seed)

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            ended = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
            if len(ended) < self.population or not search_space:
                return {}
            drawn = self.random.sample(ended[-self.population :], self.sample)
            parent = max(drawn, key=lambda one: one.value)
            open_to = [name for name, options in search_space.items() if len(options.choices) > 1]
            child = {name: parent.params[name] for name in search_space}
            for name in self.random.sample(open_to, min(1, len(open_to))):
                others = [option for option in search_space[name].choices if option != child[name]]
                child[name] = self.random.choice(others)
            return child

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return self.random.choice(distribution.choices)

    return Ageing
