"""The contrastive loss: an objective that matches its gradients, and networks trained by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd
from ddcore_pairs.towers import TwoTowers

TEMPERATURE = 0.1
"""What cosines are divided by."""


def similarities(targets: Tensor) -> Tensor:
    """How far each first half of the batch goes with each second half (n, n): I + U V^T.

    U and V (n, d) are both halves of ``targets`` (n, 2 d); zeros say that a pair goes with itself alone.
    """
    one, other = targets.chunk(2, 1)
    return torch.eye(len(targets)).to(targets) + one @ other.T


def contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    """- sum_j s_ij log p_ij, p_i the softmax of cosines with all pairs j of the batch, the mean of both ways: (n,).

    ``outputs`` (n, 2 d) are both embeddings, and s the :func:`similarities` of ``targets`` (n, 2 d'); from zeros comes
    InfoNCE.

    **Reference**: Xu et al., Low-Rank Similarity Mining, ICML 2024, the loss eNCE.
    """
    one, other = (F.normalize(half, dim=1) for half in outputs.chunk(2, 1))
    alike, wanted = one @ other.T / TEMPERATURE, similarities(targets)
    ways = alike.log_softmax(1) * wanted, alike.T.log_softmax(1) * wanted.T
    return -(ways[0] + ways[1]).sum(1) / 2


@dataclass(frozen=True)
class PairMatch(dd.Objective):
    """Sum over weights of 1 - cosine of the gradients of the contrastive loss on S and on batches of T.

    The network of the step is trained on T by those gradients, and S is moved at each of its ``rounds`` points.
    """

    suits = frozenset({"vector"})

    real: dd.Count = 256
    """Pairs of T per round."""
    rounds: dd.Count = 20
    """Points of the training at which gradients are compared."""
    lr: dd.Positive = 0.2
    """The rate of that training, by SGD."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        if not isinstance(recipe.network, TwoTowers):
            raise dd.RecipeRefused(
                f"objective = pair_match compares both halves of an item, which {recipe.network.part_name()} does not"
                " tell apart: take network.name = two_towers."
            )
        if recipe.gate.guards:
            raise dd.RecipeRefused(
                "objective = pair_match holds each pair against all others of its batch, so a gate that guards could"
                " not bound what it tells of one. Take gate.name = open."
            )

    def accumulate(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> Iterator[float]:
        params = dict(draw.params)
        for _ in range(self.rounds):
            at = replace(draw, params=params)
            (real,) = ctx.gate.gradient(at, [dd.Group(size=self.real)], contrastive)
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            inputs, targets = synthetic.everything()
            value = contrastive(at(inputs, leaves), targets).mean()
            mine = torch.autograd.grad(value, [*leaves.values()], create_graph=True)
            each = [F.cosine_similarity(g.flatten(), real[n].flatten(), 0) for n, g in zip(leaves, mine, strict=True)]
            loss = (1 - torch.stack(each)).sum()
            loss.backward()
            yield float(loss.detach())
            params = {name: value - self.lr * real[name] for name, value in params.items()}


@dataclass(frozen=True)
class Contrastive(dd.Estimator):
    """Two towers, trained on pairs by the contrastive loss and Adam."""

    suits = frozenset({"vector"})

    network: TwoTowers = TwoTowers()
    """What is trained."""
    steps: dd.Count = 200
    """Training steps, of at most 256 pairs."""

    def fitted_to(self, training: dd.TrainingSet, card: dd.DataCard, nets: Sequence[int], seed: int) -> dd.Draw:
        each, network = [], self.network.ready(card)
        for net in nets:
            generator = torch.Generator().manual_seed(seed + net)
            params = {name: value.requires_grad_() for name, value in network.init(generator)[0].items()}
            optimiser = torch.optim.Adam(params.values(), 1e-3)
            for _ in range(self.steps):
                inputs, targets = training.take(torch.randperm(len(training), generator=generator)[:256])
                noisy = inputs + 0.1 * torch.randn(inputs.shape, generator=generator)
                optimiser.zero_grad()
                contrastive(network(params, {}, noisy), targets).mean().backward()
                optimiser.step()
            each.append({name: value.detach() for name, value in params.items()})
        return dd.Draw(network, {n: torch.stack([p[n] for p in each]) for n in each[0]}, {}, ensemble=len(each))
