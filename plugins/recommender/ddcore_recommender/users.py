"""Synthetic users, and real ones that are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ddcore import plugin as dd


@dataclass(frozen=True)
class SampledUsers(dd.Carrier):
    """``ipc`` users, each a learned distribution over the items, from which its history is drawn.

    A history is min(1, sum_g softmax((l + noise_g) / t)) over ``draws`` g, l the learned logits of the user and the
    noise of Gumbel: nearly one item per draw, differentiable in l. Every step draws anew.

    **Reference**: Sachdeva et al., Distill-CF, NeurIPS 2022, Section 4.
    """

    suits = frozenset({"history"})

    init: Literal["noise", "real"] = "real"
    """``real`` starts from the histories of random users; ``noise`` from a standard normal, and asks nothing of T."""
    draws: dd.Count = 30
    """Items drawn of a user, of which some fall together. Published: 200."""
    temperature: dd.Positive = 0.5
    """t: the lower, the nearer a draw is to one item."""
    strength: dd.Positive = 4.0
    """The logit of an item that a real user began with; 0 of all others."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def build(self, card: dd.DataCard) -> SampledModule:
        return SampledModule(self, card)


class SampledModule(dd.CarrierModule):
    seed: Tensor

    def __init__(self, plan: SampledUsers, card: dd.DataCard) -> None:
        super().__init__()
        self.plan = plan
        users = sum(plan.per_class(card))
        self.register_buffer("classes", torch.zeros(users, dtype=torch.long))
        self.register_buffer("seed", torch.zeros((), dtype=torch.long))
        self.logits = nn.Parameter(torch.zeros(users, *card.shape))

    def start(self, ctx: dd.Context) -> None:
        with torch.no_grad():
            if self.plan.init == "noise":
                self.logits.copy_(torch.randn(self.logits.shape, generator=ctx.rng["init"]))
            else:
                (batch,) = ctx.gate.examples([dd.Group(size=len(self.classes))])
                self.logits.copy_(self.plan.strength * batch.inputs)

    def follow(self, draw: dd.Draw, rng: Generator) -> None:
        self.seed.fill_(int(torch.randint(2**31, (), generator=rng)))

    def forward(self, index: Tensor) -> Tensor:
        generator = Generator().manual_seed(int(self.seed))
        history = torch.zeros_like(self.logits)
        for _ in range(self.plan.draws):
            uniform = torch.rand(self.logits.shape, generator=generator).clamp_min(1e-9).to(self.logits)
            gumbel = -(-uniform.log()).log()
            history = history + ((self.logits + gumbel) / self.plan.temperature).softmax(1)
        return history.clamp_max(1)[index]

    def nbytes(self) -> int:
        """Those of the histories, which are all that is stored."""
        return self.logits.nbytes


@dataclass(frozen=True)
class HeadUsers(dd.Chosen):
    """The ``ipc`` users with the longest histories."""

    suits = frozenset({"history"})

    def choose(self, c: int, ctx: dd.Context, draw: dd.Draw | None) -> tuple[Tensor, Tensor]:
        (batch,) = ctx.gate.examples([dd.Group(classes=(c,))])
        longest = batch.inputs.sum(1).argsort(descending=True, stable=True)[: self.per_class(ctx.card)[c]]
        return batch.inputs[longest], batch.targets[longest]
