"""Whole graphs whose links are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from ddcore import plugin as dd
from ddcore_graph.carriers.linked import symmetric
from ddcore_graph.networks.pooled import features_of


@dataclass(frozen=True)
class SampledGraphs(dd.Carrier):
    """Graphs whose features are learned and whose links are drawn, as those of ``sampled_nodes``.

    Features and sizes begin as those of random real graphs, each with ``likely`` or its complement as the probability
    of a link.

    **Reference**: Jin et al., DosCond, KDD 2022, Section 3.2.
    """

    suits = frozenset({"graph"})

    temperature: dd.Positive = 0.5
    """Temperature of the relaxed draw."""
    likely: dd.OpenShare = 0.1
    """Probability at the start of a link that the real graph has not; of one that it has, the complement."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"})

    def faults(self) -> Iterator[str]:
        if self.likely >= 0.5:
            yield f"likely = {self.likely}: links that are not there must be less likely than not, below 0.5"

    def build(self, card: dd.DataCard) -> SampledGraphsModule:
        return SampledGraphsModule(self, card)


class SampledGraphsModule(dd.CarrierModule):
    there: Tensor
    noise: Tensor

    def __init__(self, plan: SampledGraphs, card: dd.DataCard) -> None:
        super().__init__()
        self.plan = plan
        per_class = plan.per_class(card)
        n, m, d = sum(per_class), card.shape[0], features_of(card)
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(torch.tensor(per_class)))
        self.features = nn.Parameter(torch.zeros(n, m, d))
        self.logits = nn.Parameter(torch.zeros(n, m, m))
        self.register_buffer("there", torch.zeros(n, m))
        self.register_buffer("noise", torch.zeros(n, m, m))

    def start(self, ctx: dd.Context) -> None:
        d = self.features.shape[-1]
        for c, wanted in enumerate(self.plan.per_class(ctx.card)):
            (batch,) = ctx.gate.examples([dd.Group(classes=(c,), size=wanted)])
            own = self.classes == c
            links = batch.inputs[..., d:]
            with torch.no_grad():
                self.features[own] = batch.inputs[..., :d]
                sure = torch.tensor(1 - self.plan.likely).logit()
                self.logits[own] = torch.where(links > 0, sure, -sure)
                self.there[own] = links.diagonal(dim1=-2, dim2=-1)

    def follow(self, draw: dd.Draw, rng: Generator) -> None:
        self.noise.copy_(torch.rand(self.noise.shape, generator=rng).clamp(1e-6, 1 - 1e-6).logit())

    def forward(self, index: Tensor) -> Tensor:
        logits = (self.logits[index] + self.logits[index].mT) / 2
        there = self.there[index]
        pairs = there[..., None] * there[..., None, :]
        if torch.is_grad_enabled():
            links = ((logits + symmetric(self.noise[index])) / self.plan.temperature).sigmoid()
        else:
            links = (logits > 0).float()
        eye = torch.eye(links.shape[-1]).to(links)
        links = links * pairs * (1 - eye) + there[..., None] * eye
        return torch.cat([self.features[index] * there[..., None], links], -1)

    def nbytes(self) -> int:
        """Features, and a link for each pair of nodes."""
        return self.features.nbytes + self.logits.nbytes

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"inputs": [self.features], "edges": [self.logits]}
