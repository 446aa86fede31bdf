"""What every search space is."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from ddcore import plugin as dd


@dataclass(frozen=True)
class Candidate:
    """One architecture of a space."""

    name: str
    """What no other architecture of the space is called."""
    network: dd.NetworkPlan


@dataclass(frozen=True)
class Space(dd.Part, kind="space"):
    """Architectures to choose among: each is one option of every decision."""

    subsample: dd.Count | None = None
    """How many architectures are drawn, uniformly without replacement; None for all."""
    seed: dd.Whole = 0
    """Seed by which they are drawn."""
    table: dd.FilePath | None = None
    """A JSON file with the accuracy after full training, in percent, of architectures by name; None to train them."""

    @abstractmethod
    def decisions(self) -> Mapping[str, tuple[Any, ...]]:
        """The options of each decision, by its name."""

    @abstractmethod
    def network(self, chosen: Mapping[str, Any]) -> dd.NetworkPlan:
        """The network of the option ``chosen`` in each decision."""

    def called(self, chosen: Mapping[str, Any]) -> str:
        """The name of the architecture of these options."""
        return "-".join(map(str, chosen.values()))

    def candidate(self, chosen: Mapping[str, Any]) -> Candidate:
        return Candidate(self.called(chosen), self.network(chosen))

    @property
    def size(self) -> int:
        """Architectures, without ``subsample``."""
        return math.prod(map(len, self.decisions().values()))

    def candidates(self) -> list[Candidate]:
        """The architectures, or those that are drawn, in the order in which the space counts them."""
        places = torch.arange(self.size)
        if self.subsample is not None and self.subsample < self.size:
            places = torch.randperm(self.size, generator=dd.Streams(self.seed)["candidates"])[: self.subsample]
        return [self.candidate(self._at(place)) for place in sorted(places.tolist())]

    def _at(self, place: int) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for name, options in reversed(tuple(self.decisions().items())):
            place, which = divmod(place, len(options))
            chosen[name] = options[which]
        return dict(reversed(chosen.items()))

    def known(self) -> dict[str, float]:
        """The accuracies in percent that ``table`` holds.

        Raises:
            BadData: there is no such file, or it is none of this kind.
        """
        if self.table is None:
            return {}
        try:
            found = TypeAdapter(dict[str, float]).validate_json(Path(self.table).read_bytes())
        except OSError as error:
            raise dd.BadData(f"The table {self.table} cannot be read ({error.strerror}).") from error
        except ValidationError as error:
            raise dd.BadData(
                f"The table {self.table} is not JSON of the form {json.dumps({self.candidates()[0].name: 93.5})}: a"
                " name and an accuracy in percent for each architecture."
            ) from error
        for name, accuracy in found.items():
            if not 0 <= accuracy <= 100:
                raise dd.BadData(f"The table {self.table} says {accuracy} of {name}, which is no accuracy in percent.")
        return found


def faulty(**decisions: tuple[Any, ...]) -> Iterator[str]:
    """What is wrong with the options of ``decisions``, in sentences: one has none, or the same one twice."""
    for name, options in decisions.items():
        if not options or len(set(options)) < len(options):
            yield f"{name} = {list(options)}: it needs at least one option, and each of them once"
