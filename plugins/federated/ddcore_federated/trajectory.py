"""A trajectory of global weights, and what a server distils from it that never sees T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ddcore import plugin as dd
from ddcore_federated.server import TrainOnUnion
from ddcore_federated.shared import Shared


@dataclass(frozen=True)
class Trajectory(dd.Policy):
    """Each step is at a random point of a given trajectory of weights, with the point ``span`` further on as its
    target.

    Nothing is asked of T.
    """

    path: dd.FilePath | None = None
    """Safetensors file of the trajectory, as :func:`write_trajectory` writes it; a server fills it in."""
    span: dd.Count = 1
    """Points from a start to its target."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"target"})

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        if self.path is None:
            raise dd.RecipeRefused("policy.path names no trajectory: a server gives one, of the weights of rounds.")

    def draw(self, state: dict[str, Any], synthetic: dd.SyntheticSet, ctx: dd.Context) -> dd.Draw:
        assert self.path is not None
        fresh = ctx.fresh()
        remedy = "policy.path names the trajectory of this network, as write_trajectory wrote it."
        _, said = dd.read_tensors(self.path, dd.RecipeRefused, remedy, ())
        points = int(said.get("points", 0))
        if points <= self.span:
            raise dd.RecipeRefused(
                f"{self.path} has {points} points, and targets lie {self.span} further on: keep more rounds, or"
                " lower policy.span."
            )
        start = int(torch.randint(points - self.span, (), generator=ctx.rng["policy"]))
        wanted = [f"{t}/{name}" for t in (start, start + self.span) for name in fresh.params]
        held, _ = dd.read_tensors(self.path, dd.RecipeRefused, remedy, wanted)
        here, target = (
            {name: held[f"{t}/{name}"].to(ctx.device) for name in fresh.params} for t in (start, start + self.span)
        )
        return dd.Draw(ctx.network, here, fresh.buffers, target=target, age=start)


def write_trajectory(path: str | Path, points: Sequence[dd.Params]) -> None:
    """The weights of a way, first to last, as safetensors, whole or not at all."""
    tensors = {f"{t}/{name}": v.detach().float() for t, point in enumerate(points) for name, v in point.items()}
    dd.write_tensors(path, tensors, {"points": str(len(points))})


@dataclass(frozen=True)
class Dynafed(dd.Part, kind="dynafed"):
    """Clients send weights, and the server distils a set from the trajectory of the first rounds, once; after each
    later round it trains the average on that set.

    So no client makes images, and the server reaches no real data.

    **Reference**: Pi et al., DynaFed, CVPR 2023.
    """

    rounds: dd.Count = 5
    """Rounds whose weights are kept as the trajectory."""
    method: str = "dynafed"
    """The method that distils the set; it must ask nothing of T."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of its recipe, by dotted path."""
    tuning: TrainOnUnion = field(default_factory=lambda: TrainOnUnion(dd.Protocol(steps=50, lr=(1e-4,), repeats=1)))
    """How the average is trained on the set."""

    def recipe(self, card: dd.DataCard, host: dd.Host, preprocess: dd.Preprocess | None = None) -> dd.Recipe:
        """What it distils by; ``preprocess`` is that of the clients, where they have another than the recipe.

        Raises:
            RecipeRefused: the method asks something of T, which the server has not, or looks at no way of weights.
        """
        recipe = host.recipe(self.method, kind=card.kind, overrides=dd.dotted(self.overrides))
        recipe = replace(recipe, preprocess=preprocess or recipe.preprocess)
        if asks := recipe.fitted(card).asks:
            raise dd.RecipeRefused(
                f"The server has no real data, but {recipe.name} asks {', '.join(sorted(asks))} of them: start from"
                " noise, take the policy trajectory, and declare the numbers of the preprocessing."
            )
        if not isinstance(recipe.policy, Trajectory):
            raise dd.RecipeRefused(
                f"The server distils from the way of the weights, which {recipe.name} does not look at: take the policy"
                " trajectory."
            )
        if recipe.policy.span > self.rounds:
            raise dd.RecipeRefused(
                f"refined.rounds = {self.rounds}: targets lie policy.span = {recipe.policy.span} rounds further on."
            )
        return recipe

    def distilled(
        self,
        trajectory: Sequence[dd.Params],
        network: dd.NetworkPlan,
        card: dd.DataCard,
        folder: str | Path,
        host: dd.Host,
        *,
        preprocess: dd.Preprocess | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> Shared:
        """The set that is distilled from the ``trajectory`` of ``network``'s weights, kept in ``folder``."""
        recipe = self.recipe(card, host, preprocess)
        assert isinstance(recipe.policy, Trajectory)
        path = Path(folder) / "trajectory.safetensors"
        write_trajectory(path, trajectory)
        recipe = replace(recipe, network=network, seed=seed, policy=replace(recipe.policy, path=str(path)))
        nothing = dd.Store.of(torch.zeros(0, *card.shape), torch.zeros(0, dtype=torch.long), card.classes)
        made = host.start(recipe, dd.RealData(card, nothing, nothing), device=device)
        return Shared.of(made.hooks.ddcore_distill(run=made), range(card.classes), card.classes)
