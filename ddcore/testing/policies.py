"""What a policy is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.host import Host
from ddcore.policies.base import Policy
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.trial import run_faults, tensors, trial, undeclared


@Check
def check_policy(
    part: Policy, *, recipe: Recipe | None = None, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """It keeps the contract of parts; it gives parameters of the run's network, leaves S as it is, remembers in its
    state what :attr:`memory <ddcore.policies.base.Policy.memory>` says, asks what it declares, and goes on bit for bit
    after a stop.

    It is tried in ``recipe``, by default DM or an installed method that has one like it.
    """
    name = part.part_name()
    yield from check_part.faults(part, host.catalogue if host else None)
    found = trial(part, recipe, data, host)
    run = found.start()
    run.start()
    policy, before, asked = run.recipe.policy, tensors(run), run.trace.asked
    for _ in range(2):
        draw = policy.draw(run.policy, run.synthetic, run.ctx)
        wanted, _ = run.ctx.network.init(torch.Generator().manual_seed(0))
        nets = () if draw.ensemble is None else (draw.ensemble,)
        shapes = {key: (*nets, *value.shape) for key, value in wanted.items()}
        own = draw.network is run.ctx.network
        if own and {key: tuple(value.shape) for key, value in draw.params.items()} != shapes:
            yield f"{name} draws parameters that are none of the network's: begin with ctx.fresh()."
            return
        try:
            policy.check_state(run.policy, run.ctx.network)
        except ValueError as error:
            said = " ".join(str(error).split())
            yield f"{name} remembers other things than its memory says, so no checkpoint of it can be resumed: {said}"
            return
    if not all(map(torch.equal, before, tensors(run))):
        yield f"{name} changes S as it draws: that is the objective's to do. Work on copies."
    yield from undeclared(run.trace.asked - asked, policy.asks, name)
    yield from run_faults(found, name)
