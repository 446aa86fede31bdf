"""Kinds of items: what an item is, and the defaults that follow from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar, cast

from ddcore.catalogue import Catalogue
from ddcore.kernels import DenseTangent
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.networks.mlp import MLP
from ddcore.optimisers import Sgd
from ddcore.parts import Part
from ddcore.policies.pool import Pool
from ddcore.update import Update

P = TypeVar("P", bound=Part)


class ItemKind(Part, kind="item_kind"):
    """What an item is, known by the name that stands in :attr:`DataCard.kind <ddcore.types.DataCard.kind>`.

    It says which defaults follow where those of a method, made for images, do not suit.
    """

    picture: ClassVar[bool] = False
    """Items can be looked at as images."""

    @property
    @abstractmethod
    def network(self) -> NetworkPlan:
        """The network that is trained on such items."""

    @property
    def instead(self) -> Mapping[str, Part | None]:
        """What takes the place of a part that does not suit, by the kind of that part; none of them are carriers."""
        return {"network": self.network, "augment": None, "kernel": DenseTangent()}

    def paced(self, part: P) -> P:
        """``part`` with its rates, which are those of images, brought to such items."""
        return part

    def adapted(self, part: P) -> P:
        """``part`` as the default for such items: where it, or a part within it, does not suit, with what does."""
        name = self.part_name()
        if part.suits is not None and name not in part.suits:
            return part
        changes: dict[str, Any] = {} if name == "image" else dict(part.image_fields)
        for field, _ in part.parts():
            held = getattr(part, field)
            changes[field] = tuple(map(self._suited, held)) if isinstance(held, tuple) else self._suited(held)
        return self.paced(replace(part, **changes) if changes else part)  # type: ignore[type-var]

    def _suited(self, part: Any) -> Any:
        if not isinstance(part, Part) or part.suits is None or self.part_name() in part.suits:
            return self.adapted(part) if isinstance(part, Part) else part
        return self.instead.get(part.kind, part)


@dataclass(frozen=True)
class Image(ItemKind):
    """Pixels of one or three channels (c, h, w)."""

    picture = True

    @property
    def network(self) -> NetworkPlan:
        return ConvNet()


class FewNumbers(ItemKind):
    """Items of few numbers beside the many pixels of an image."""

    def paced(self, part: P) -> P:
        """An update by SGD has rates of at most 1 and gradients of a norm of at most 1.

        What many pixels share falls to few numbers here, so rates of images would throw them out.
        """
        if isinstance(part, Update) and isinstance(part.optimiser, Sgd):
            return replace(part, lr={name: min(rate, 1.0) for name, rate in part.lr.items()}, clip=part.clip or 1.0)
        return part


@dataclass(frozen=True)
class Vector(FewNumbers):
    """Features side by side (d,), in no order: a row of a table."""

    @property
    def network(self) -> NetworkPlan:
        return MLP()

    def paced(self, part: P) -> P:
        """SGD is held back; so is the training of a pool, whose MLPs soon know S by heart."""
        return super().paced(replace(part, lr=min(part.lr, 3e-4)) if isinstance(part, Pool) else part)


@dataclass(frozen=True)
class Signal(FewNumbers):
    """Channels along time (c, t): sound, sensors."""

    @property
    def network(self) -> NetworkPlan:
        return ConvNet()


@dataclass(frozen=True)
class Video(ItemKind):
    """Frames along time (c, t, h, w)."""

    @property
    def network(self) -> NetworkPlan:
        return ConvNet()


def kind_named(name: str, catalogue: Catalogue) -> ItemKind:
    """The kind of items of that name. Raises UnknownName where nothing brings it."""
    return cast(type[ItemKind], catalogue.find("item_kind", name).maker)()


PARTS = (
    Image,
    Signal,
    Vector,
    Video,
)
