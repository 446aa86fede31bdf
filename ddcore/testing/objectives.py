"""What an objective is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.host import Host
from ddcore.objectives.base import Objective
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.trial import run_faults, trial, undeclared


@Check
def check_objective(
    part: Objective, *, recipe: Recipe | None = None, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """It keeps the contract of parts; in a small run its loss is finite, its gradient reaches S and leaves the network
    alone, it asks the gate what it declares, draws from the run's streams, and goes on bit for bit after a stop.

    It is tried in ``recipe``, by default DM or an installed method that has one like it.
    """
    name = part.part_name()
    yield from check_part.faults(part, host.catalogue if host else None)
    found = trial(part, recipe, data, host)
    run = found.start()
    run.run_until(until=1)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    run.synthetic.follow(draw)
    run.gate.source.follow(draw)
    held, before = {key: value.detach().clone() for key, value in draw.params.items()}, run.trace.asked
    losses = list(run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)) if run.recipe.objective else []
    if not losses:
        yield f"{name} yields no loss: accumulate yields once for each step that S shall take."
    gradients = [p.grad for p in run.synthetic.parameters() if p.grad is not None]
    if not any(bool(g.any()) for g in gradients):
        yield f"{name} leaves no gradient in S: call backward() on a loss of synthetic.take(...) before each yield."
    if not all(bool(g.isfinite().all()) for g in gradients):
        yield f"{name} leaves a gradient that is not finite: guard roots, logarithms and divisions near zero."
    if any(not torch.equal(value, held[key]) for key, value in draw.params.items()):
        yield f"{name} changes the parameters of the network it is given: work on copies of draw.params."
    yield from undeclared(
        run.trace.asked - before, run.recipe.objective.asks if run.recipe.objective else part.asks, name
    )
    yield from run_faults(found, name)
