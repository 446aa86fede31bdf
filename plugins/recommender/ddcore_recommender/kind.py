"""What an item of such data is: the history of a user, who is taught to be guessed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class History(dd.ItemKind):
    """The items that one user used, as a 1 at the place of each (m,); its target has the same form."""

    @property
    def network(self) -> dd.NetworkPlan:
        return dd.MLP(width=64, depth=2)

    @property
    def instead(self) -> Mapping[str, dd.Part | None]:
        return {**super().instead, "preprocess": dd.Identity(), "kernel": dd.DenseTangent()}


@dataclass(frozen=True)
class Itself(dd.Labels):
    """The target of a history is the history, as autoencoders have it. It takes no bytes."""

    suits = frozenset({"history"})

    def build(self, card: dd.DataCard, carrier: dd.CarrierModule) -> ItselfLabels:
        return ItselfLabels()


class ItselfLabels(dd.LabelModule):
    loss_name = "squared"

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return inputs

    def begin(self, values: Tensor) -> None:
        """The values that histories began with are the histories."""

    def nbytes(self) -> int:
        return 0
