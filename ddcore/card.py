"""The card of an artefact: the JSON that says what its tensors are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from torch import Tensor

from ddcore.bounds import Decay, NotNegative, Whole
from ddcore.errors import BadArtefact, fields_at_fault
from ddcore.levels import Bits, Levels
from ddcore.losses import LossName
from ddcore.types import DataCard

FORMAT = 4
"""What is written; all earlier ones are read too, which had no checksums before 3 and no levels before 4."""
LARGEST_CARD = 4 * 2**20
"""Characters of the longest card that is read."""


class _Format(BaseModel):
    format: int


def _in_one_line(sentence: str) -> str:
    if not sentence.isprintable():
        raise ValueError("a warning is one line of printable text")
    return sentence


class _Facts(BaseModel):
    """What the core writes among the facts; plugins add their own."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    seed: int = 0
    steps: Whole = 0
    seconds: NotNegative = 0.0
    warnings: list[Annotated[str, AfterValidator(_in_one_line)]] = []
    """Sentences that whoever is shown the set must read."""


class _Range(BaseModel):
    """Of what numbers the levels of one tensor are."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    low: float
    high: float
    shape: tuple[Whole, ...]


class Card(BaseModel):
    """The JSON that every artefact carries."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    format: int
    method: str
    recipe: str
    data: DataCard
    nbytes: Whole
    momentum: Decay = 0.0
    preprocess: str
    versions: dict[str, str]
    facts: _Facts
    loss: LossName = "cross_entropy"
    bits: Bits | None = None
    levels: dict[str, _Range] = {}
    """The tensors that are stored as levels of ``bits``."""

    @staticmethod
    def of(text: str) -> Card:
        """The card that ``text`` is. Raises BadArtefact, in a clause that names what is wrong."""
        if len(text) > LARGEST_CARD:
            raise BadArtefact(f"it has {len(text)} characters, and {LARGEST_CARD} is the most that a card has")
        try:
            written = _Format.model_validate_json(text).format
            if not 1 <= written <= FORMAT:
                raise BadArtefact(f"it has format {written}; this ddcore reads 1 to {FORMAT}. Install a newer one")
            return Card.model_validate_json(text)
        except ValidationError as error:
            raise BadArtefact(fields_at_fault(error)) from error

    def numbers(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ``tensors`` of a file as numbers. Raises BadArtefact where what the card lists as levels are none."""
        found = dict(tensors)
        for name, told in self.levels.items():
            if self.bits is None or name not in found or not told.low <= told.high:
                raise BadArtefact(f"The set cannot be used: its card has levels of {name!r}, which are none.")
            low, high = torch.tensor(told.low), torch.tensor(told.high)
            try:
                found[name] = Levels.unpacked(found[name], told.shape, low, high, self.bits).values()
            except ValueError as error:
                raise BadArtefact(f"The set cannot be used: its levels of {name} are none ({error}).") from error
        return found
