"""An ordinary module as a network."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.dropout import _DropoutNd

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
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = _Named(factory())
    stand_ins = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    return deepcopy(module, stand_ins | {id(b): b.to("meta") for b in module.buffers()})


@dataclass(frozen=True, repr=False)
class ModuleNetwork(Network):
    """The network that ``factory`` makes: ``module(x)`` gives logits, ``module.features(x)`` flat features.

    ``per_sample`` must be False where an item's output depends on its batch. Dropout is found; ``random`` must be True
    where the module draws random numbers of its own.
    """

    factory: Callable[[], nn.Module]
    per_sample: bool = True  # type: ignore[assignment]
    random: bool = False

    _empty: _Named = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_empty", _emptied(self.factory))

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"convolutions"} if any(p.ndim >= 3 for p in self._empty.parameters()) else ())

    @property
    def stochastic(self) -> bool:
        return self.random or any(_draws(module) for module in self._empty.modules())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._empty.inner!r})"

    def init(self, generator: Generator) -> tuple[Params, Params]:
        with forked(generator):
            module = _Named(self.factory())
        return (
            {name: value.detach() for name, value in module.named_parameters()},
            {name: value.detach() for name, value in module.named_buffers()},
        )

    def apply(self, call: Call, x: Tensor) -> Tensor:
        module = self._empty.train(call.training)
        method = "features" if call.features else "forward"

        def one(params: Params, buffers: Params, x: Tensor) -> Tensor:
            return functional_call(module, (params, buffers), (x, method))

        draws = call.generators if call.training or self.random else None
        if draws is None:
            each = one if call.ensemble is None else vmap(one, randomness="different")
            return each(call.params, call.buffers, x)
        if call.ensemble is None:
            with forked(draws[0]):
                return one(call.params, call.buffers, x)
        answers = []
        for i in range(call.ensemble):
            with forked(draws[i % len(draws)]):
                params, buffers = ({n: v[i] for n, v in held.items()} for held in (call.params, call.buffers))
                answers.append(one(params, buffers, x[i]))
        return torch.stack(answers)


def _draws(module: nn.Module) -> bool:
    """``module`` is known to draw random numbers in training."""
    share = module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0.0)
    return isinstance(module, nn.RReLU) or (isinstance(share, float | int) and share > 0)
