"""Similarities between the pairs of S, learned with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_pairs.towers import check_halves

LORS = dd.Citation(
    "xu2024lors",
    "Xu, Yue and Lin, Zhilin and Qiu, Yusong and Lu, Cewu and Li, Yong-Lu",
    "Low-Rank Similarity Mining for Multimodal Dataset Distillation",
    "International Conference on Machine Learning",
    2024,
)


@dataclass(frozen=True)
class Similarities(dd.Labels):
    """How far each pair of S goes with each other one, learned with the pairs: I + (alpha / r) L R^T.

    L and R (n, r) hold r numbers for each pair. L starts from a standard normal and R from zeros, so that at first a
    pair goes with itself alone. A target is both rows of a pair, filled up with zeros.

    **Reference**: Xu et al., Low-Rank Similarity Mining, ICML 2024.

    **Differs**: the weights of the diagonal are learned there, and fixed at 1 here. The loss is theirs named eNCE; they
    also have a weighted binary cross-entropy, which is not built.
    """

    values_only = True
    suits = frozenset({"vector"})
    cites: ClassVar[tuple[dd.Citation, ...]] = (LORS,)

    rank: dd.Count = 10
    """Numbers r of a pair in L and in R, at most as many as an embedding has."""
    alpha: dd.Positive = 1.0
    """Factor of the learned similarities."""

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        check_halves(card)
        if 2 * self.rank > card.outputs:
            raise dd.RecipeRefused(
                f"labels.rank = {self.rank}: the targets of {card.name} have {card.outputs} values, which hold at most"
                f" rank {card.outputs // 2}."
            )

    def build(self, card: dd.DataCard, carrier: dd.CarrierModule) -> SimilarityLabels:
        return SimilarityLabels(self, card, len(carrier.classes))


class SimilarityLabels(dd.LabelModule):
    loss_name = "squared"

    def __init__(self, plan: Similarities, card: dd.DataCard, n: int) -> None:
        super().__init__()
        self.plan, self.width = plan, card.outputs // 2
        self.left = nn.Parameter(torch.zeros(n, plan.rank))
        self.right = nn.Parameter(torch.zeros(n, plan.rank))

    def begin(self, values: Tensor) -> None:
        """Nothing: a pair of S begins as one that goes with itself alone, whatever it is made of."""

    def start(self, ctx: dd.Context, inputs: Tensor) -> None:
        with torch.no_grad():
            self.left.copy_(torch.randn(self.left.shape, generator=ctx.rng["similarities"]))

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        """Both rows of each pair (n, 2 d)."""
        rows = self.plan.alpha / self.plan.rank * self.left[index], self.right[index]
        return torch.cat([F.pad(row, (0, self.width - self.plan.rank)) for row in rows], 1)

    def nbytes(self) -> int:
        return self.left.nbytes + self.right.nbytes
