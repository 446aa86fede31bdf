"""The artefact: what a distillation leaves behind, readable without the code that made it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ddcore.card import FORMAT, Card
from ddcore.crops import PACKED, PackedCrops
from ddcore.errors import BadArtefact, RecipeRefused
from ddcore.levels import Bits, Levels, coarse, stored_bytes
from ddcore.preprocess import PARTS as PREPROCESSES
from ddcore.tensors import CHECKSUMS, HoldsTensors, LabelledTensors, checksum, read_tensors, write_tensors
from ddcore.types import DataCard

STORED = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64),
)
"""What tensors may be of which the core does not say more."""

_PREPROCESSES = {plan.part_name(): plan for plan in PREPROCESSES}
"""Those of the core; of others only the name is known here."""


@dataclass(frozen=True)
class DistilledSet(HoldsTensors):
    """A distilled set: decoded tensors, and a card that says where they come from.

    What can be made can be saved, and is loaded as it was: ``facts`` are kept as JSON has them.

    Raises:
        BadArtefact: something of it is not what it should be, or does not fit the rest.
    """

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
    item (:func:`ddcore.augment.cropped`), both as ``packed.*`` (:class:`ddcore.crops.PackedCrops`), or a teacher's
    ``params.*`` and ``buffers.*``; ``nbytes`` counts it."""
    bits: Bits | None = None
    """Bits per number of its inputs, label values, latent and teaching tensors, which have the values that come back of
    so few; None for float32. :meth:`at` gives the set in fewer."""
    versions: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What else is true of it: seconds, an epsilon, ``poisoned``."""

    def __post_init__(self) -> None:
        try:
            card = Card.of(self._card())
        except BadArtefact as error:
            raise BadArtefact(f"The card of the set cannot be used: {error}.") from error
        object.__setattr__(self, "data", card.data)
        object.__setattr__(self, "facts", card.facts.model_dump(exclude_unset=True))
        for fault in self._faults():
            raise BadArtefact(f"The set cannot be used: {fault}.")
        if self.bits is not None:
            for name, value in self._coarse(self.bits).items():
                object.__setattr__(self, name, value)

    def _coarse(self, bits: Bits) -> dict[str, Any]:
        """Its tensors as they come back from ``bits`` per number, by the names of its fields."""
        held = self.tensors
        rows = coarse(held.targets, bits) if held.targets.ndim == 2 else held.targets
        return {
            "tensors": replace(held, inputs=coarse(held.inputs, bits), targets=rows),
            "latent": {name: coarse(value, bits) for name, value in self.latent.items()},
            "teaching": {name: coarse(value, bits) for name, value in self.teaching.items()},
        }

    def at(self, bits: Bits) -> DistilledSet:
        """This set in ``bits`` per number, and counted so; its inputs and its latent tensors each for themselves.

        Raises:
            BadArtefact: its numbers are stored in fewer.
        """
        if self.bits is not None and bits > self.bits:
            raise BadArtefact(f"The numbers of the set have {self.bits} bits, of which {bits} cannot be made.")
        left = nbytes = self.nbytes
        for value in (*self.latent.values(), *self.teaching.values(), self.inputs, self.targets):
            before = stored_bytes(value, self.bits)
            if value.dtype == torch.float32 and before <= left:  # else it is stored as something else, and less
                left, nbytes = left - before, nbytes - before + stored_bytes(value, bits)
        return replace(self, bits=bits, nbytes=nbytes)

    def _faults(self) -> Iterator[str]:
        """What is wrong, the first of which is told: each is said of what is otherwise right so far."""
        yield from self.data.faults()
        self.tensors.check(self.data)
        for name, value in self._beside().items():
            if not name.isprintable():
                yield f"the name of its tensor {name!r} cannot be written"
            if value.dtype not in STORED:
                yield f"its {name} is {value.dtype}, which no set holds"
            if not bool(value.isfinite().all()):
                yield f"its {name} holds NaN or infinite numbers"
        plan = _PREPROCESSES.get(self.preprocess)
        for fault in plan().state_faults(self.preprocess_state, self.data) if plan else ():
            yield f"its preprocessing {self.preprocess} is none of {self.data.name}: {fault}"
        yield from self._teaching_faults()
        least = len(self) + sum(stored_bytes(value, self.bits) for value in self.teaching.values())
        if self.nbytes < least:
            yield f"it says that it takes {self.nbytes} bytes, and its labels and what it teaches by alone take {least}"

    def _teaching_faults(self) -> Iterator[str]:
        n, k = len(self), self.data.outputs
        teaching = {name: value for name, value in self.teaching.items() if not name.startswith(PACKED)}
        try:
            PackedCrops.read(self.teaching, n, k)
        except ValueError as error:
            yield f"its packed crops are none ({error})"
        crops = {name: tuple(teaching[name].shape) for name in ("boxes", "logits") if name in teaching}
        many = next(iter(crops.values()), (0, 0))[1:2]
        if crops and crops != {"boxes": (n, *many, 4), "logits": (n, *many, k)}:
            yield f"its crops are {crops}, not boxes of 4 and logits of {k} of as many crops per item"
        for name, value in teaching.items():
            buffer = name.startswith("buffers.")
            if not (buffer or name.startswith("params.") or name in crops):
                yield f"its teaching.{name} is nothing that networks are taught by"
            if value.dtype != torch.float32 and not (buffer and value.dtype == torch.int64):
                yield f"its teaching.{name} is {value.dtype}, not torch.float32"

    def _beside(self) -> dict[str, Tensor]:
        """What is stored beside the labelled tensors, by its name in the file."""
        kinds = {"preprocess": self.preprocess_state, "latent": self.latent, "teaching": self.teaching}
        return {f"{kind}.{name}": value for kind, held in kinds.items() for name, value in held.items()}

    def _stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All tensors as they stand in the file, by name, and the ranges of those that are levels."""
        held, ranges = self.tensors.state_dict() | self._beside(), {}
        if self.bits is None:
            return held, ranges
        for name in _numbers(held):
            value = held[name]
            if stored_bytes(value, self.bits) < value.nbytes:
                levels = Levels.of(value, self.bits)
                held[name] = levels.packed()
                ranges[name] = {"low": levels.low.item(), "high": levels.high.item(), "shape": list(value.shape)}
        return held, ranges

    def _card(self, ranges: Mapping[str, Any] = MappingProxyType({})) -> str:
        """The card as JSON. Raises BadArtefact, in a clause, where something of it is nothing that JSON knows."""
        card = {
            "format": FORMAT,
            "method": self.method,
            "recipe": self.recipe,
            "data": asdict(self.data),
            "nbytes": self.nbytes,
            "loss": self.loss,
            "momentum": self.momentum,
            "preprocess": self.preprocess,
            "versions": self.versions,
            "facts": self.facts,
        } | ({"bits": self.bits, "levels": dict(ranges)} if self.bits is not None else {})
        try:
            return json.dumps(card)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadArtefact(f"{error}: facts are numbers, texts, lists and tables") from error

    @property
    def content(self) -> str:
        """A hash of all that networks are trained on, and of the recipe: the same for the same set, however it came."""
        held = self.tensors.state_dict() | self._beside()
        sums = {name: checksum(name, value) for name, value in held.items()}
        said = [sums, self.loss, self.momentum, self.preprocess, self.recipe]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that whoever is shown the set, or anything made of it, must read."""
        return tuple(self.facts.get("warnings", ()))

    def images(self, clamp: bool = True) -> Tensor:
        """The items as images (n, c, h, w) in [0, 1], their preprocessing undone.

        Without ``clamp`` they may leave that range, as what was learned may.

        Raises:
            BadArtefact: they are no images, or a plugin's preprocessing keeps its way back to itself.
        """
        found = self._raw("image", "which is no image that can be shown")
        return found.clamp(0, 1) if clamp else found

    def rows(self) -> Tensor:
        """The items as vectors (n, d), their preprocessing undone.

        Raises:
            BadArtefact: they are no vectors, or a plugin's preprocessing keeps its way back to itself.
        """
        return self._raw("vector", "which are no rows of a table")

    def _raw(self, kind: str, lacking: str) -> Tensor:
        if self.data.kind != kind or self.preprocess not in _PREPROCESSES:
            raise BadArtefact(
                f"The items of {self.data.name} are {self.data.kind}s under {self.preprocess}, {lacking}: take inputs,"
                " or undo what was done to them with ddcore.plugin.preprocess_of."
            )
        return _PREPROCESSES[self.preprocess]().load(self.preprocess_state).inverse(self.inputs)

    def loader(self, batch_size: int = 64, shuffle: bool = True, seed: int = 0) -> DataLoader[tuple[Tensor, ...]]:
        """A plain torch loader of (inputs, targets)."""
        order = torch.Generator().manual_seed(seed)
        return DataLoader(TensorDataset(self.inputs, self.targets), batch_size, shuffle=shuffle, generator=order)

    def with_facts(self, **facts: Any) -> DistilledSet:
        """This set with more facts on its card, as :func:`stated` puts them together."""
        return replace(self, facts=stated(self.facts, facts))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as safetensors; an old file at ``path`` is replaced only by a whole new one."""
        tensors, ranges = self._stored()
        return write_tensors(path, tensors, {"ddcore": self._card(ranges)})

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
            card = Card.of(text)
        except BadArtefact as error:
            raise BadArtefact(f"The card of {path} is damaged ({error}).") from error
        if card.format >= 3 and CHECKSUMS not in metadata:
            raise BadArtefact(
                f"{path} is damaged: it has format {card.format}, which has checksums, and none are there."
            )
        try:
            tensors = card.numbers(tensors)
            beside = {kind: _below(tensors, f"{kind}.") for kind in ("preprocess", "latent", "teaching")}
            held = LabelledTensors.from_state(tensors, card.loss, card.momentum)
            known = held.state_dict().keys()
            for name in tensors:
                kind, dot, _ = name.partition(".")
                if name not in known and not (dot and kind in beside):
                    raise BadArtefact(f"The set cannot be used: it holds {name!r}, which no set has.")
            return DistilledSet(
                tensors=held,
                data=card.data,
                method=card.method,
                recipe=card.recipe,
                nbytes=card.nbytes,
                preprocess=card.preprocess,
                preprocess_state=beside["preprocess"],
                latent=beside["latent"],
                teaching=beside["teaching"],
                bits=card.bits,
                versions=card.versions,
                facts=card.facts.model_dump(exclude_unset=True),
            )
        except BadArtefact as error:
            raise BadArtefact(f"{path}: {error}") from error


def stated(*facts: Mapping[str, Any]) -> dict[str, Any]:
    """``facts`` of several sources as those of one set: of one name the last stands, but all ``warnings`` do, and lists
    of tables follow one another."""
    found: dict[str, Any] = {}
    for name, fact in chain.from_iterable(table.items() for table in facts):
        before = found.get(name, [])
        adds = name == "warnings" or _tables(fact)
        found[name] = [*before, *fact] if adds and isinstance(before, list) else fact
    return found


def check_stated(*facts: Mapping[str, Any]) -> None:
    """Raises RecipeRefused where several sources state one fact, of which :func:`stated` would keep the last alone."""
    named = [{name for name, fact in table.items() if name != "warnings" and not _tables(fact)} for table in facts]
    for name in sorted(set().union(*named)):
        if sum(name in one for one in named) > 1:
            raise RecipeRefused(
                f"The fact {name!r} would stand twice on the card of the set: two views state it, or one states what"
                " ddcore or the gate writes there itself. Let a view state a fact of its own name, or a list of tables."
            )


def _tables(fact: Any) -> bool:
    return isinstance(fact, list) and bool(fact) and all(isinstance(one, Mapping) for one in fact)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _numbers(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those of ``tensors`` that are stored as levels where a set has few bits."""
    found = [name for name in tensors if name == "inputs" or name.startswith(("latent.", "teaching."))]
    rows = ["targets"] if tensors["targets"].ndim == 2 else []
    return [name for name in sorted((*found, *rows)) if tensors[name].dtype == torch.float32]
