"""What policies remember, as types: a checkpoint is held to them."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from pydantic import AfterValidator, InstanceOf, ValidationInfo
from torch import Tensor

from ddcore.checkpoint import OptimiserState, State, StreamsState
from ddcore.gate.fit import Fit
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


Parameters = Annotated[dict[str, InstanceOf[Tensor]], _of_the_network("params")]
Buffers = Annotated[dict[str, InstanceOf[Tensor]], _of_the_network("buffers")]
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
    optimiser: OptimiserState
    easier: InstanceOf[Tensor] | None = None


class TrainingState(NetState):
    """A network that is being trained on T."""

    fit: FitState | Nothing
    rng: StreamsState | None = None


def check_training(state: dict[str, Any], fit: Fit) -> None:
    """Raises ValueError where what ``state`` remembers of a training is not of ``fit``."""
    at = state.get("training", {}).get("fit")
    if at:
        OptimiserState.model_validate(at["optimiser"]).check(fit.optimiser.build((at["params"].values(), fit.lr)))
        if len(at["way"]) > fit.snapshots:
            raise ValueError(f"its training has more than {fit.snapshots} snapshots")
