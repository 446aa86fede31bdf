"""Images that are mixtures of a few components of their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ddcore import plugin as dd


@dataclass(frozen=True)
class Composite(dd.Carrier):
    """Twice as many images as components: x_ci = sum_k W_cik C_ck, with ``ipc`` components C_c per class, W_c (2n, n).

    The weights' bytes come on top of those of ``ipc`` images, as published.

    **Reference**: Wiewel and Yang, IJCNN 2021.

    **Differs**: no sigmoid is applied to the sum, so that T need not lie within [0, 1].
    """

    init: Literal["noise", "real"] = "real"
    """``real`` starts from 2n random real images per class: the first half are the components, the others their best
    approximation by those. ``noise`` draws standard normal components, and weights of standard deviation 1 / sqrt(n)
    around the identity, and asks nothing of T."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def build(self, card: dd.DataCard) -> CompositeModule:
        return CompositeModule(self, card)


class CompositeModule(dd.DecodedModule):
    def __init__(self, plan: Composite, card: dd.DataCard) -> None:
        super().__init__()
        self.plan, self.versions, self.shape = plan, 2 * plan.budget, card.shape
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(self.versions))
        self.components = nn.Parameter(torch.zeros(card.classes, plan.budget, *card.shape))
        self.weights = nn.Parameter(torch.zeros(card.classes, self.versions, plan.budget))

    def start(self, ctx: dd.Context) -> None:
        n = self.plan.budget
        with torch.no_grad():
            self.weights[:, :n] = torch.eye(n)
            if self.plan.init == "noise":
                rng = ctx.rng["init"]
                self.components.copy_(torch.randn(self.components.shape, generator=rng))
                self.weights += torch.randn(self.weights.shape, generator=rng).to(self.weights) / n**0.5
                return
            for c in range(ctx.card.classes):
                (batch,) = ctx.gate.examples([dd.Group(classes=(c,), size=2 * n)])
                images = dd.in_turn(batch.inputs, 2 * n)
                self.components[c] = images[:n]
                self.weights[c, n:] = images[n:].flatten(1) @ torch.linalg.pinv(images[:n].flatten(1))

    def forward(self, index: Tensor) -> Tensor:
        c, row = index // self.versions, index % self.versions
        mixed = self.weights[c, row][:, None] @ self.components[c].flatten(2)
        return mixed.view(-1, *self.shape)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.components], "weights": [self.weights]}
