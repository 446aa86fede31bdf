"""Checkpoints: what a run's state must look like, and files of it that know whether they are whole."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, FiniteFloat, InstanceOf, JsonValue, ValidationError
from torch import Tensor
from torch.optim import Optimizer

from ddcore.errors import BadCheckpoint, fields_at_fault
from ddcore.files import write_whole

DIGEST = 64
"""Characters of the checksum at the end of the file, which is there as the comment of the zip that torch writes."""


def write_checkpoint(path: Path, state: dict[str, Any], private: bool) -> None:
    """Write ``state`` with a checksum, whole or not at all; with ``private`` only its owner may read it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with buffer.getbuffer() as whole:
        whole[-2:] = DIGEST.to_bytes(2, "little")
        digest = hashlib.sha256(whole).hexdigest()
    buffer.seek(0, io.SEEK_END)
    buffer.write(digest.encode())
    write_whole(path, buffer.getbuffer(), private)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What :func:`write_checkpoint` wrote, on the CPU. Runs no code of the file's.

    Raises:
        BadCheckpoint: it is not that, to the last bit.
    """
    data = path.read_bytes()
    if hashlib.sha256(data[:-DIGEST]).hexdigest().encode() != data[-DIGEST:]:
        raise BadCheckpoint(
            f"{path} is damaged: its checksum is not that of its content. Put a whole copy of it back; without one, the"
            " experiment can only be run anew, in another folder."
        )
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch says many things of a file that another program wrote
        raise BadCheckpoint(f"{path} is damaged: it holds more than tensors and plain values.") from error
    if not isinstance(state, dict):
        raise BadCheckpoint(f"{path} is damaged: it holds no state of a run.")
    return state


class State(BaseModel):
    """What is remembered, field by field; nothing else is."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StreamsState(State):
    """Where random streams stand."""

    streams: dict[str, InstanceOf[Tensor]]
    secret: dict[str, InstanceOf[Tensor]]
    root: str


class OptimiserState(State):
    """What an optimiser gives."""

    state: dict[int, dict[str, InstanceOf[Tensor] | None]]
    param_groups: list[dict[str, Any]]

    def check(self, like: Optimizer) -> None:
        """Raises ValueError where it is not of an optimiser like ``like``, of parameters of the same shapes."""
        for mine, its in zip(like.state_dict()["param_groups"], self.param_groups, strict=True):
            kinds = [{name: type(value) for name, value in group.items()} for group in (mine, its)]
            if kinds[0] != kinds[1] or mine["params"] != its["params"]:
                raise ValueError("its optimiser has other groups of parameters")
        shapes = [tuple(value.shape) for group in like.param_groups for value in group["params"]]
        for number, values in self.state.items():
            for value in values.values():
                if isinstance(value, Tensor) and value.ndim and tuple(value.shape) != shapes[number]:
                    raise ValueError("its optimiser remembers parameters of another shape")


class RunState(State):
    """What ``Run.state_dict`` gives. What a part remembers is checked by the part."""

    recipe: str
    data: dict[str, JsonValue]
    content: str
    step: Annotated[int, Ge(0)]
    seconds: Annotated[FiniteFloat, Ge(0)]
    facts: dict[str, JsonValue]
    started: bool
    synthetic: dict[str, Any]
    averaged: dict[str, Any] | None
    optimiser: OptimiserState | None
    preprocess: dict[str, InstanceOf[Tensor]] | None
    policy: dict[str, Any]
    gate: dict[str, Any]
    views: list[dict[str, Any]]
    rng: StreamsState

    def check(self, iterations: int) -> None:
        """Raises ValueError where a run of so many ``iterations`` does not come to stand so."""
        if self.step > iterations or (self.step and not self.started):
            raise ValueError(f"it has done {self.step} steps of {iterations}")
        if self.started != (self.preprocess is not None):
            raise ValueError("it has started without its preprocessing, or not started with it")


def moved(state: Any, device: torch.device) -> Any:
    """A plain state with its tensors on ``device``."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {name: moved(value, device) for name, value in state.items()}
    return [moved(value, device) for value in state] if isinstance(state, list) else state


def in_short(error: Exception) -> str:
    """What is wrong with a state, on one line."""
    if isinstance(error, ValidationError):
        return fields_at_fault(error)
    return " ".join(f"{type(error).__name__}: {error}".split())
