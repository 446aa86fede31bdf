"""What a network of any origin is held to, found by experiment when it meets a card."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.func import vmap

from ddcore.errors import DdcoreError, RecipeRefused
from ddcore.memory import WithinMemory
from ddcore.networks.structure import Structure
from ddcore.types import Call, DataCard, Network, Params, WrappedNetwork

ITEMS = 4
"""Items by which a network is tried."""


@dataclass(frozen=True, repr=False)
class Checked(WrappedNetwork):
    """A network with what was found of it in the place of what it says."""

    per_sample: bool = True  # type: ignore[assignment]
    stochastic: bool = False  # type: ignore[assignment]
    gives: frozenset[str] = frozenset()  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.network)


def checked(what: str, build: Callable[[], Network], card: DataCard) -> Network:
    """The network that ``build`` makes for ``card``; ``what`` it is called in a refusal.

    It fits memory. One that is not of the core's layers is tried on a few random items, and what it says of itself is
    replaced by what was found: whether items see each other, whether it draws random numbers, whether it has features.

    Raises:
        RecipeRefused: it is too large, or cannot be used as a network, in a sentence that says what to change.
    """
    with WithinMemory(what):
        network = build()
    if not isinstance(network, Network):
        raise RecipeRefused(
            f"{what} builds a {type(network).__name__}, which is no network: write"
            " `return ddcore.ModuleNetwork(lambda: MyModule(...))`."
        )
    core = network.unwrapped
    if isinstance(core, Structure):
        with WithinMemory(what, made=False):
            core.init(Generator())
        return network
    if not card.apart:
        return Checked(network, network.per_sample, network.stochastic, network.gives | {"features"})
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
        return Trial(what, network, card).found()


class Trial:
    """``network`` on a few random items of ``card``, at one start."""

    def __init__(self, what: str, network: Network, card: DataCard) -> None:
        self.what, self.network, self.card = what, network, card
        with WithinMemory(what):
            self.params, self.buffers = network.init(Generator().manual_seed(0))
        self.x = torch.randn(ITEMS, *card.shape, generator=Generator().manual_seed(1))

    def found(self) -> Checked:
        self._start()
        self._logits()
        self._gradients()
        features = self._features()
        alone = self._alone() and (not features or self._alone(features=True))
        gives = self.network.gives | ({"features"} if features else set())
        stochastic = self.network.stochastic or self._draws(training=True)
        return Checked(self.network, self.network.per_sample and alone, stochastic, gives)

    def _refused(self, said: str) -> RecipeRefused:
        return RecipeRefused(f"{self.what}: {said}")

    def _answer(
        self,
        x: Tensor,
        *,
        features: bool = False,
        training: bool = True,
        params: Params | None = None,
        seed: int | None = 0,
    ) -> Tensor:
        """What it answers to ``x``, each time from the same buffers, and from the same draws but where ``seed`` is
        None."""
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        own = None if seed is None else (Generator().manual_seed(seed),)
        call = Call(params or self.params, buffers, features, training, generators=own)
        try:
            return self.network.apply(call, x)
        except DdcoreError:
            raise
        except Exception as error:  # a stranger's code: anything may come out of it
            said = (str(error).splitlines() or [""])[0]
            raise self._refused(
                f"it cannot take {len(x)} items of {'x'.join(map(str, self.card.shape))}"
                f" {'in training' if training else 'in evaluation'} ({type(error).__name__}: {said}). A network takes"
                " batches of any size, of items of the data's shape."
            ) from error

    def _start(self) -> None:
        """Parameters are there, on the CPU, in float32, and follow from the seed."""
        if not self.params:
            raise self._refused("it has no parameter that learns (requires_grad): leave at least one to be trained.")
        for name, value in {**self.params, **self.buffers}.items():
            if value.is_floating_point() and value.dtype != torch.float32:
                raise self._refused(f"{name} is {value.dtype}, and networks compute in float32: call .float() on it.")
            if value.device.type != "cpu":
                raise self._refused(
                    f"{name} is made on {value.device}: make the module on the CPU, from where ddcore moves what it"
                    " needs to the device of the run."
                )
        again, _ = self.network.init(Generator().manual_seed(0))
        if any(not torch.equal(value, again[name]) for name, value in self.params.items()):
            raise self._refused(
                "its start differs from one time to the next under the same seed: draw it from torch's own random"
                " numbers, not from numpy's or Python's."
            )

    def _logits(self) -> None:
        """One float32 logit for each output, the same for the same input, which is left as it is."""
        wanted, n = self.card.outputs, len(self.x)
        held = {name: value.clone() for name, value in self.params.items()}
        for training in (True, False):
            x = self.x.clone()
            answer = self._answer(x, training=training)
            if not isinstance(answer, Tensor):
                raise self._refused(
                    f"it answers a {type(answer).__name__}: its forward must answer the logits alone, one tensor of"
                    f" the shape (n, {wanted})."
                )
            if answer.shape != (n, wanted):
                raise self._refused(
                    f"it answers {tuple(answer.shape)} to {n} items: it must have {wanted} outputs for"
                    f" {self.card.name}, (n, {wanted}). Make its last layer of that size."
                )
            if answer.dtype != torch.float32:
                raise self._refused(f"it answers {answer.dtype}, and networks compute in float32: call .float() on it.")
            if not torch.equal(x, self.x):
                raise self._refused(
                    "it changes its input in place, which others use as well: write x = x + 1 for x += 1, and no"
                    " inplace=True in its first layer."
                )
            if not _equal(self._answer(self.x, training=training), answer):
                raise self._refused(
                    "the same input is answered otherwise the second time"
                    f"{'' if training else ', in evaluation'}: keep what it remembers in buffers (register_buffer), not"
                    " in attributes; draw from torch's random numbers, and say random=True of a module that draws in"
                    " evaluation too."
                )
        if moved := [name for name, value in self.params.items() if not torch.equal(value, held[name])]:
            raise self._refused(f"its forward changes the parameter {moved[0]} in place: leave that to the optimiser.")

    def _draws(self, training: bool) -> bool:
        """It draws random numbers, whatever it says."""
        one, other = (self._answer(self.x, training=training, seed=None) for _ in range(2))
        return not _equal(one, other)

    def _gradients(self) -> None:
        """Every parameter and the input take part in the answer."""
        params = {name: value.detach().requires_grad_() for name, value in self.params.items()}
        x = self.x.clone().requires_grad_()
        answer = self._answer(x, params=params).sum()
        if not answer.requires_grad:
            raise self._refused("its answer cannot be differentiated: leave out torch.no_grad and detach.")
        of_x, *found = torch.autograd.grad(answer, [x, *params.values()], allow_unused=True)
        if idle := [name for name, gradient in zip(params, found, strict=True) if gradient is None]:
            raise self._refused(
                f"{', '.join(idle)} takes no part in the answer: remove it, or freeze it (requires_grad_(False))."
            )
        if of_x is None:
            raise self._refused(
                "its answer cannot be differentiated by its input, which is how a set is learned: leave out"
                " torch.no_grad and detach, and freeze layers by requires_grad_(False)."
            )

    def _features(self) -> bool:
        """It has flat features (n, d)."""
        try:
            found = self._answer(self.x, features=True)
        except DdcoreError:
            return False
        return isinstance(found, Tensor) and found.dtype == torch.float32 and found.ndim == 2

    def _alone(self, features: bool = False) -> bool:
        """An item is answered the same whatever stands beside it, and can be answered by itself.

        Raises:
            RecipeRefused: it is not so in evaluation.
        """
        others = torch.cat([self.x[:1], self.x[1:].flip(0) * 3 + 1])
        (tested, beside), (trained, joined) = (
            [self._answer(x, features=features, training=training)[0] for x in (self.x, others)]
            for training in (False, True)
        )
        by_itself = self._answer(self.x[:1], features=features, training=False)[0]
        if not self._draws(training=False) and not (_equal(tested, beside) and _equal(tested, by_itself)):
            raise self._refused(
                "in evaluation the answer to an item depends on the others of its batch: let BatchNorm keep running"
                " statistics (track_running_stats=True), and normalise items by themselves otherwise."
            )
        return _equal(trained, joined) and self._one_by_one(features)

    def _one_by_one(self, features: bool) -> bool:
        """It answers items under vmap, which private gates need."""
        try:
            one = vmap(lambda x: self._answer(x[None], features=features, seed=None)[0], randomness="different")
            each = one(self.x)
        except DdcoreError:
            return False
        return self._draws(training=True) or _equal(each, self._answer(self.x, features=features))


def _equal(a: Tensor, b: Tensor) -> bool:
    """``a`` and ``b`` are the same but for rounding, which goes by the largest number."""
    size = float(b.detach().nan_to_num().abs().max())
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-3 * size + 1e-6, equal_nan=True)
