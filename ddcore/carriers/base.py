"""What every carrier is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ddcore.bounds import Count
from ddcore.errors import RecipeRefused
from ddcore.levels import Bits
from ddcore.parts import Part
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard, Network, Transform


@dataclass(frozen=True)
class Carrier(Part, kind="carrier"):
    """How the inputs of S are represented."""

    ipc: Count = 1
    """Images per class; a carrier that decodes its inputs takes the bytes of that many."""
    bits: Bits | None = field(default=None, kw_only=True)
    """Bits in which each number of the distilled set is stored, spread over its tensor's range; soft labels too. None
    for float32."""
    coarse: Bits | None = field(default=None, kw_only=True)
    """Take as many numbers of so many bits as ``ipc`` images have bytes in float32: at 8 bits, four times the items.
    None for the numbers of ``ipc`` images."""

    @property
    def stored_bits(self) -> Bits | None:
        """Bits per number, of ``bits`` or ``coarse``; None for float32."""
        return self.bits or self.coarse

    @property
    def budget(self) -> int:
        """Of how many images per class it takes the numbers."""
        return self.ipc * (32 // (self.coarse or 32))

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"learned_inputs"})

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        """Raises RecipeRefused where the carrier does not suit the data."""
        for c, (wanted, count) in enumerate(zip(self.per_class(card), card.counts, strict=True)):
            if "examples" in self.asks and wanted > count:
                raise RecipeRefused(
                    f"ipc = {self.ipc} needs more real {card.kind}s than class {card.called(c)} of {card.name} has"
                    f" ({count}). Choose a smaller ipc{', or no coarse' if self.coarse else ''}."
                )

    def per_class(self, card: DataCard) -> tuple[int, ...]:
        """How many items of its kind each class gets: ``budget`` each."""
        return (self.budget,) * card.classes

    def shown(self, distilled: Any) -> Any:
        """What networks are trained on, a :class:`~ddcore.evaluation.training_set.TrainingSet`: ``distilled`` itself.

        A carrier that makes more than tensors, such as edges, puts them together from ``distilled.latent``.
        """
        return distilled

    @abstractmethod
    def build(self, card: DataCard) -> CarrierModule:
        """The live carrier, from shapes alone."""

    def ready(self, card: DataCard) -> CarrierModule:
        """The live carrier, which has its classes.

        Raises:
            RecipeRefused: it has none.
        """
        module = self.build(card)
        if not isinstance(getattr(module, "classes", None), Tensor):
            raise RecipeRefused(
                f"{type(module).__name__} has no classes: let its __init__ register a buffer `classes` (n,), the class"
                " of each item of S."
            )
        return module


class ImagesModule(CarrierModule):
    """Stores ``pixels`` (k * ipc, ...): images in the range of preprocessed inputs, each pixel learned."""

    def __init__(self, plan: Carrier, card: DataCard, items: int = 1) -> None:
        """``items``: how many inputs each image holds."""
        super().__init__()
        self.versions = items
        stored = plan.per_class(card)
        self.register_buffer("classes", classes_in_order([items * n for n in stored]))
        self.pixels = nn.Parameter(torch.zeros(sum(stored), *card.shape))

    def project(self, into: Transform) -> None:
        with torch.no_grad():
            self.pixels.copy_(into(self.pixels))

    def nbytes(self) -> int:
        return self.pixels.nbytes


class DecodedModule(CarrierModule):
    """Decodes its inputs from its parameters, all of which are stored."""

    def nbytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.parameters())

    def latent(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.named_parameters()}


def values_to_come(card: DataCard, items: int) -> Tensor | None:
    """Where the values of ``items`` items will stand, (n, v); None where targets are classes."""
    return None if card.values is None else torch.zeros(items, card.values)


def classes_in_order(per_class: Sequence[int]) -> Tensor:
    """The class of each item (n,), class by class, of so many items ``per_class``."""
    return torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
