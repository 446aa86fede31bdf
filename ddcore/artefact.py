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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ddcore.errors import BadArtefact
from ddcore.files import write_whole
from ddcore.losses import LossName
from ddcore.preprocess import PARTS as PREPROCESSES
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
class DistilledSet:
    """A distilled set: decoded tensors, and a card that says where they come from.

    ``inputs`` (n, ...) are as networks take them, that is preprocessed. ``targets`` are classes (n,) int64, or one row
    of label values an item (n, k); ``loss`` is what they are made for.
    """

    inputs: Tensor
    targets: Tensor
    data: DataCard
    method: str
    recipe: str
    """The recipe as TOML."""
    nbytes: int
    """Bytes that must be stored to have S: inputs (or what they are made of), labels, networks."""
    loss: LossName = "cross_entropy"
    """What networks are trained with: the cross-entropy of the targets, or half the squared distance from them."""
    step_sizes: Tensor | None = None
    """Learned learning rates (t,): of t steps in their order, or one for all."""
    order: Tensor | None = None
    """The items (t, b) that each of t training steps shall see, where S was made for one order."""
    momentum: float = 0.0
    """That of SGD in these steps."""
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

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at ``index`` (n,)."""
        return self.inputs[index], self.targets[index]

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
        tensors = {"inputs": self.inputs, "targets": self.targets}
        tensors |= {f"preprocess.{name}": value for name, value in self.preprocess_state.items()}
        tensors |= {f"latent.{name}": value for name, value in self.latent.items()}
        tensors |= {f"teaching.{name}": value for name, value in self.teaching.items()}
        for name, value in (("step_sizes", self.step_sizes), ("order", self.order)):
            if value is not None:
                tensors[name] = value
        data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"ddcore": json.dumps(card)})
        return write_whole(Path(path), data)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> DistilledSet:
        """Read a set that :meth:`save` wrote. Runs no code of the file's.

        Raises:
            BadArtefact: not such a file, cut short, or with contents that do not fit together.
        """
        path = Path(path)
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get("ddcore")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise BadArtefact(f"There is no file {path}.") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise BadArtefact(f"{path} is not a whole safetensors file ({error}). Was it copied to the end?") from error
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
        _check_tensors(path, tensors, data, card.loss)
        return DistilledSet(
            inputs=tensors["inputs"],
            targets=tensors["targets"],
            data=data,
            method=card.method,
            recipe=card.recipe,
            nbytes=card.nbytes,
            loss=card.loss,
            step_sizes=tensors.get("step_sizes"),
            order=tensors.get("order"),
            momentum=card.momentum,
            preprocess=card.preprocess,
            preprocess_state=_below(tensors, "preprocess."),
            latent=_below(tensors, "latent."),
            teaching=_below(tensors, "teaching."),
            versions=card.versions,
            facts=card.facts,
        )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], data: DataCard, loss: LossName) -> None:
    def refuse(why: str) -> None:
        raise BadArtefact(f"{path} cannot be used: {why}.")

    missing = {"inputs", "targets"} - tensors.keys()
    if missing:
        refuse(f"it lacks {' and '.join(sorted(missing))}")
    inputs, targets = tensors["inputs"], tensors["targets"]
    if tuple(inputs.shape[1:]) != data.shape or not inputs.is_floating_point():
        refuse(f"its inputs are {inputs.dtype} {tuple(inputs.shape)}, its card speaks of items of {data.shape}")
    if len(inputs) != len(targets) or not len(inputs):
        refuse(f"it has {len(inputs)} inputs and {len(targets)} targets")
    if not torch.isfinite(inputs).all():
        refuse("its inputs hold NaN or infinite numbers")
    sizes = tensors.get("step_sizes")
    if sizes is not None and (sizes.ndim != 1 or not len(sizes) or not (sizes.isfinite() & (sizes > 0)).all()):
        refuse("its step sizes are not a row of finite numbers above zero")
    order = tensors.get("order")
    if order is not None:
        if order.ndim != 2 or order.dtype != torch.int64 or not order.numel():
            refuse(f"its order is {order.dtype} {tuple(order.shape)}, not one row of items a step")
        if order.min() < 0 or order.max() >= len(inputs):
            refuse(f"its order names items that are not among its {len(inputs)}")
        if sizes is None or len(sizes) != len(order):
            refuse(f"it has {len(order)} steps in order and {0 if sizes is None else len(sizes)} step sizes")
    if targets.ndim == 1 and loss != "cross_entropy":
        refuse(f"its targets are classes, and its loss {loss!r} wants one row of {data.classes} an item")
    teaching = _below(tensors, "teaching.")
    if not all(value.isfinite().all() for value in teaching.values()):
        refuse("what it teaches by holds NaN or infinite numbers")
    views = {name: tuple(teaching[name].shape) for name in ("boxes", "logits") if name in teaching}
    many = next(iter(views.values()), (0, 0))[1:2]
    if views and views != {"boxes": (len(inputs), *many, 4), "logits": (len(inputs), *many, data.classes)}:
        refuse(f"its views are {views}, not boxes of 4 and logits of {data.classes} of as many views an item")
    if targets.ndim == 1:
        if targets.dtype != torch.int64 or targets.min() < 0 or targets.max() >= data.classes:
            refuse(f"its targets are not classes from 0 to {data.classes - 1}")
    elif targets.shape != (len(inputs), data.outputs) or not torch.isfinite(targets).all():
        refuse(f"its targets are {tuple(targets.shape)}, not one finite row of {data.outputs} an item")
