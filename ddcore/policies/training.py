"""Training the networks of a policy, on T through the gate or on S."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ddcore.context import Context
from ddcore.device import sent
from ddcore.gate.fit import Fit
from ddcore.rng import Streams
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params


def trained_on(
    state: dict[str, Any], fit: Fit, told: str, ctx: Context, rng: Streams | None = None
) -> tuple[list[Params], Params]:
    """A fresh network trained on T: its start and its snapshots, and its buffers.

    Its progress is kept in ``state["training"]``, so that the run may be interrupted; what was drawn before must be in
    ``state`` as well. Start and batches come from ``rng``, or from the run's own streams.
    """
    if "training" not in state:
        begun = ctx.fresh(rng)
        state["training"] = {"params": begun.params, "buffers": begun.buffers, "fit": {}}
    at = state["training"]
    if rng is not None and "rng" in at:
        rng.load_state_dict(at["rng"])

    def keep() -> None:
        if rng is not None:
            at["rng"] = rng.state_dict()
        if ctx.keep:
            ctx.keep()

    gate = ctx.gate if rng is None else ctx.gate.with_streams(rng)
    network = ctx.network if rng is None else ctx.network_of(rng)
    way = gate.fit(Draw(network, at["params"], at["buffers"]), fit, told, ctx.progress, at["fit"], keep)
    del state["training"]
    return [at["params"], *way], at["buffers"]


def epochs_on(synthetic: SyntheticSet, draw: Draw, ctx: Context, optimiser: Optimizer, batch: int) -> Iterator[int]:
    """Train ``draw``'s parameters on S, in place: ``optimiser``, which holds them, on batches of ``batch``.

    Each item of a batch is under its own draw of the recipe's augmentation. Yields the steps of each epoch, without
    end.
    """
    with torch.no_grad():
        inputs, targets = synthetic.everything()
    while True:
        batches = sent(torch.randperm(len(inputs), generator=ctx.rng["policy"]), ctx.device).split(batch)
        for rows in batches:
            step_on(inputs[rows], targets[rows], synthetic, draw, ctx, optimiser)
        yield len(batches)


def step_on(
    inputs: Tensor, targets: Tensor, synthetic: SyntheticSet, draw: Draw, ctx: Context, optimiser: Optimizer
) -> None:
    """One step of ``draw``'s parameters, in place, on items of S, each under its own draw of the augmentation."""
    optimiser.zero_grad()
    synthetic.labels.loss(draw(ctx.transform(len(inputs))(inputs)), targets).mean().backward()
    optimiser.step()
