"""The artefact: what a distillation leaves behind, readable without the code that made it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ddcore.errors import BadArtefact
from ddcore.losses import LossName
from ddcore.preprocess import PARTS as PREPROCESSES
from ddcore.tensors import HoldsTensors, LabelledTensors, read_tensors, write_tensors
from ddcore.types import DataCard

FORMAT = 2
"""What is written; 1 is read too."""


class _Format(BaseModel):
    format: int


class _Card(BaseModel):
    """The JSON that every artefact carries."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    method: str
    recipe: str
    data: dict[str, Any]
    nbytes: int
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    preprocess: str
    versions: dict[str, str]
    facts: dict[str, Any]
    loss: LossName = "cross_entropy"


@dataclass(frozen=True)
class DistilledSet(HoldsTensors):
    """A distilled set: decoded tensors, and a card that says where they come from."""

    tensors: LabelledTensors
    """Inputs as networks take them, targets, and the training that they were made for."""
    data: DataCard
    """The real data that it stands for."""
    method: str
    """The recipe's name."""
    recipe: str
    """The recipe as TOML."""
    nbytes: int
    """Bytes that must be stored to have S: inputs (or what they are made of), labels, networks."""
    preprocess: str = "identity"
    """Name of the preprocessing; its tensors, if any, stand in ``preprocess_state``."""
    preprocess_state: dict[str, Tensor] = field(default_factory=dict)
    latent: dict[str, Tensor] = field(default_factory=dict)
    """What the inputs were decoded from, where that is not the inputs themselves."""
    teaching: dict[str, Tensor] = field(default_factory=dict)
    """What networks can be taught by as they are trained: ``logits`` (n, v, k) of what ``boxes`` (n, v, 4) show of each
    item (:func:`ddcore.augment.cropped`), or a teacher's ``params.*`` and ``buffers.*``; ``nbytes`` counts it."""
    versions: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What else is true of it: seconds, an epsilon, ``poisoned``."""

    def __post_init__(self) -> None:
        self.tensors.check(self.data)

    def images(self) -> Tensor:
        """The items as images (n, c, h, w) in [0, 1], their preprocessing undone.

        Raises:
            BadArtefact: they are no images, or a plugin's preprocessing keeps its way back to itself.
        """
        plans = {plan.part_name(): plan for plan in PREPROCESSES}
        if self.data.kind != "image" or self.preprocess not in plans:
            raise BadArtefact(
                f"The items of {self.data.name} are {self.data.kind}s under {self.preprocess}, which is no image that"
                " can be shown: take inputs, or undo what was done to them with ddcore.plugin.preprocess_of."
            )
        return plans[self.preprocess]().load(self.preprocess_state).inverse(self.inputs).clamp(0, 1)

    def loader(self, batch_size: int = 64, shuffle: bool = True, seed: int = 0) -> DataLoader[tuple[Tensor, ...]]:
        """A plain torch loader of (inputs, targets)."""
        order = torch.Generator().manual_seed(seed)
        return DataLoader(TensorDataset(self.inputs, self.targets), batch_size, shuffle=shuffle, generator=order)

    def with_facts(self, **facts: Any) -> DistilledSet:
        """This set with more facts on its card."""
        return replace(self, facts={**self.facts, **facts})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as safetensors; an old file at ``path`` is replaced only by a whole new one."""
        card = {
            "format": FORMAT,
            "method": self.method,
            "recipe": self.recipe,
            "data": self.data.__dict__,
            "nbytes": self.nbytes,
            "loss": self.loss,
            "momentum": self.momentum,
            "preprocess": self.preprocess,
            "versions": self.versions,
            "facts": self.facts,
        }
        beside = {"preprocess": self.preprocess_state, "latent": self.latent, "teaching": self.teaching}
        tensors = {f"{kind}.{name}": value for kind, held in beside.items() for name, value in held.items()}
        return write_tensors(path, self.tensors.state_dict() | tensors, {"ddcore": json.dumps(card)})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> DistilledSet:
        """Read a set that :meth:`save` wrote. Runs no code of the file's.

        Raises:
            BadArtefact: not such a file, cut short, or with contents that do not fit together.
        """
        tensors, metadata = read_tensors(path, BadArtefact, "Was it copied to the end?")
        text = metadata.get("ddcore")
        if text is None:
            raise BadArtefact(f"{path} holds tensors, but not the card of a distilled set.")
        try:
            written = TypeAdapter(_Format).validate_json(text).format
            if not 1 <= written <= FORMAT:
                raise BadArtefact(f"{path} has format {written}; this ddcore reads 1 to {FORMAT}. Install a newer one.")
            card = _Card.model_validate_json(text)
            data = TypeAdapter(DataCard).validate_python(card.data)
        except ValidationError as error:
            raise BadArtefact(f"The card of {path} is damaged: {error}.") from error
        try:
            held = LabelledTensors.from_state(tensors, card.loss, card.momentum)
            held.check(data)
            _check_teaching(_below(tensors, "teaching."), len(held), data.classes)
        except BadArtefact as error:
            raise BadArtefact(f"{path}: {error}") from error
        return DistilledSet(
            tensors=held,
            data=data,
            method=card.method,
            recipe=card.recipe,
            nbytes=card.nbytes,
            preprocess=card.preprocess,
            preprocess_state=_below(tensors, "preprocess."),
            latent=_below(tensors, "latent."),
            teaching=_below(tensors, "teaching."),
            versions=card.versions,
            facts=card.facts,
        )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_teaching(teaching: Mapping[str, Tensor], n: int, k: int) -> None:
    if not all(value.isfinite().all() for value in teaching.values()):
        raise BadArtefact("The set cannot be used: what it teaches by holds NaN or infinite numbers.")
    crops = {name: tuple(teaching[name].shape) for name in ("boxes", "logits") if name in teaching}
    many = next(iter(crops.values()), (0, 0))[1:2]
    if crops and crops != {"boxes": (n, *many, 4), "logits": (n, *many, k)}:
        raise BadArtefact(
            f"The set cannot be used: its crops are {crops}, not boxes of 4 and logits of {k} of as many crops"
            " per item."
        )
