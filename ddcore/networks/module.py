"""An ordinary module as a network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from ddcore.errors import RecipeRefused
from ddcore.rng import forked
from ddcore.types import Call, Network, Params


class _Named(nn.Module):
    """Lets the name of a method be an argument of the call."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, method: str) -> Tensor:
        return getattr(self.inner, method)(x)


def _emptied(factory: Callable[[], nn.Module]) -> _Named:
    """The module with meta tensors in the place of its parameters and buffers, those it shares shared still.

    It is made on the CPU: modules may read their own numbers while they are made.

    Raises:
        RecipeRefused: ``factory`` is a module, makes none, or one whose shapes are not known or that cannot be copied.
    """
    if isinstance(factory, nn.Module):
        raise RecipeRefused(
            f"A {type(factory).__name__} is one module, and every start of a network wants its own: write"
            f" ModuleNetwork(lambda: {type(factory).__name__}(...))."
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        inner = factory()
    if not isinstance(inner, nn.Module):
        raise RecipeRefused(f"The factory of a ModuleNetwork makes a {type(inner).__name__}, and should an nn.Module.")
    module = _Named(inner)
    for name, value in chain(module.named_parameters(), module.named_buffers()):
        if is_lazy(value):
            raise RecipeRefused(
                f"{name} of {type(inner).__name__} is lazy: say its size (nn.Linear(inputs, outputs) for"
                " nn.LazyLinear(outputs))."
            )
    stand_ins = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    try:
        return deepcopy(module, stand_ins | {id(b): b.to("meta") for b in module.buffers()})
    except (RuntimeError, TypeError) as error:
        raise RecipeRefused(
            f"A {type(inner).__name__} cannot be copied ({str(error).splitlines()[0]}): let its attributes be modules,"
            " parameters, buffers and plain values, and take torch.nn.utils.parametrizations for weight_norm and"
            " spectral_norm."
        ) from error


@dataclass(frozen=True, repr=False)
class ModuleNetwork(Network):
    """The network that ``factory`` makes: ``module(x)`` gives logits, ``module.features(x)`` flat features.

    Parameters that are frozen (``requires_grad`` false) stay as the factory made them: they stand among the buffers, so
    that they are neither trained nor matched nor clipped. Features are for methods that match them.

    Whether items see each other (BatchNorm) and whether it draws random numbers in training is found out when the
    network meets its data; ``per_sample`` false says the first of a module in which it cannot be seen, and ``random``
    must be true where it draws in evaluation too.
    """

    factory: Callable[[], nn.Module]
    per_sample: bool = True  # type: ignore[assignment]
    random: bool = False

    _empty: _Named = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_empty", _emptied(self.factory))

    @property
    def gives(self) -> frozenset[str]:
        learned = (p for p in self._empty.parameters() if p.requires_grad)
        return frozenset({"convolutions"} if any(p.ndim >= 3 for p in learned) else ())

    @property
    def stochastic(self) -> bool:
        return self.random or any(_draws(module) for module in self._empty.modules())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._empty.inner!r})"

    def init(self, generator: Generator) -> tuple[Params, Params]:
        with forked(generator):
            module = _Named(self.factory())
        named = {name: (value.requires_grad, value.detach()) for name, value in module.named_parameters()}
        return (
            {name: value for name, (learned, value) in named.items() if learned},
            {name: value for name, (learned, value) in named.items() if not learned}
            | {name: value.detach() for name, value in module.named_buffers()},
        )

    def apply(self, call: Call, x: Tensor) -> Tensor:
        module = self._empty.train(call.training)
        method = "features" if call.features else "forward"
        draws = call.generators if call.training or self.random else None

        def one(params: Params, buffers: Params, x: Tensor, net: int) -> Tensor:
            with nullcontext() if draws is None else forked(draws[net % len(draws)]):
                return functional_call(module, (params, buffers), (x, method))

        if call.ensemble is None:
            return one(call.params, call.buffers, x, 0)
        # net by net: vmap lacks rules for some layers, and for ways that are chosen by numbers
        apart = {name: value.unbind() for name, value in call.params.items()}
        return torch.stack(
            [
                one({n: v[i] for n, v in apart.items()}, {n: v[i] for n, v in call.buffers.items()}, x[i], i)
                for i in range(call.ensemble)
            ]
        )


def _draws(module: nn.Module) -> bool:
    """``module`` is known to draw random numbers in training."""
    share = module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0.0)
    return isinstance(module, nn.RReLU) or (isinstance(share, float | int) and share > 0)
