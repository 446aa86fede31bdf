"""A trajectory of global weights, and what a server distils from it that never sees T."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ddcore import plugin as dd
from ddcore_federated.server import TrainOnUnion
from ddcore_federated.shared import Shared


@dataclass(frozen=True)
class Trajectory(dd.Policy):
    """Each step is at a random point of a given way through the weights, with that ``span`` further on as its target.

    ``path`` names the safetensors file that :func:`write_trajectory` wrote. Nothing is asked of T.
    """

    path: str | None = None
    span: int = 1

    def faults(self) -> Iterator[str]:
        if self.span < 1:
            yield (f"policy.span = {self.span}: the target lies at least one point further on.")

    def draw(self, state: dict[str, Any], synthetic: dd.SyntheticSet, ctx: dd.Context) -> dd.Draw:
        if self.path is None:
            raise dd.RecipeRefused("policy.path names no trajectory: a server gives one, of the weights of rounds.")
        fresh = ctx.fresh()
        try:
            with safe_open(self.path, framework="pt") as file:
                points = len(file.keys()) // len(fresh.params)
                if points <= self.span:
                    raise dd.RecipeRefused(
                        f"{self.path} has {points} points, and targets lie {self.span} further on: keep more rounds, or"
                        " lower policy.span."
                    )
                start = int(torch.randint(points - self.span, (), generator=ctx.rng["policy"]))
                here, target = (
                    {name: file.get_tensor(f"{t}/{name}").to(ctx.device) for name in fresh.params}
                    for t in (start, start + self.span)
                )
        except (SafetensorError, OSError) as error:
            raise dd.RecipeRefused(f"{self.path} is not a whole trajectory of this network ({error}).") from None
        return dd.Draw(ctx.network, here, fresh.buffers, target=target, age=start)


def write_trajectory(path: str | Path, points: Sequence[dd.Params]) -> None:
    """The weights of a way, first to last, as safetensors, whole or not at all."""
    tensors = {f"{t}/{name}": v.detach().float() for t, point in enumerate(points) for name, v in point.items()}
    dd.write_whole(Path(path), save({name: v.cpu().contiguous().clone() for name, v in tensors.items()}))


@dataclass(frozen=True)
class Dynafed(dd.Part, kind="dynafed"):
    """Clients send weights, and the server keeps those of the first ``rounds``; from their way it distils a set by
    ``method`` once, and after each later round trains the average on that as ``tuning`` says.

    So no client makes images, and the server reaches no real data. Reference: Pi et al., DynaFed, CVPR 2023.
    """

    rounds: int = 5
    method: str = "dynafed"
    overrides: dict[str, Any] = field(default_factory=dict)
    tuning: TrainOnUnion = field(default_factory=lambda: TrainOnUnion(dd.Protocol(steps=50, lr=(1e-4,), repeats=1)))

    def faults(self) -> Iterator[str]:
        if self.rounds < 1:
            yield (f"refined.rounds = {self.rounds}: there is no way without a round.")

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
