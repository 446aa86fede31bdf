"""What policies remember, as types: a checkpoint is held to them."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from pydantic import AfterValidator, Field, InstanceOf, ValidationInfo
from torch import Tensor

from ddcore.checkpoint import OptimiserState, State, StreamsState
from ddcore.rng import Streams
from ddcore.types import Network


def shapes_of(network: Network) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of ``network``'s parameters and buffers, by name: the context in which a memory is validated."""
    held = zip(("params", "buffers"), network.init(Streams(0)["nets"]), strict=True)
    return {kind: {name: tuple(value.shape) for name, value in tensors.items()} for kind, tensors in held}


def _of_the_network(kind: str) -> AfterValidator:
    def check(tensors: dict[str, Tensor], info: ValidationInfo) -> dict[str, Tensor]:
        assert info.context is not None
        if {name: tuple(value.shape) for name, value in tensors.items()} != info.context[kind]:
            raise ValueError(f"these are not the {kind} of the recipe's network")
        return tensors

    return AfterValidator(check)


def _of_its_parameters(state: OptimiserState, info: ValidationInfo) -> OptimiserState:
    assert info.context is not None
    state.check(list(info.context["params"].values()))
    return state


Parameters = Annotated[dict[str, InstanceOf[Tensor]], _of_the_network("params")]
Buffers = Annotated[dict[str, InstanceOf[Tensor]], _of_the_network("buffers")]
Optimising = Annotated[OptimiserState, AfterValidator(_of_its_parameters)]
Number = Annotated[int, Ge(0)]


class Nothing(State):
    """Nothing is remembered, or not yet."""


class NetState(State):
    """A network."""

    params: Parameters
    buffers: Buffers


class FitState(State):
    """A fit on T in its midst."""

    step: Number
    params: Parameters
    way: list[Parameters]
    optimiser: Optimising = Field(default_factory=lambda: OptimiserState(state={}, param_groups=[]))


class TrainingState(NetState):
    """A network that is being trained on T."""

    fit: FitState | Nothing
    rng: StreamsState = Field(default_factory=lambda: StreamsState(streams={}, secret={}))
