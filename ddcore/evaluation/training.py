"""Training fresh networks, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from ddcore.augment.mixing import CutMix
from ddcore.chunking import CHUNK_BYTES, activation_floats, slices
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training_set import TrainingSet
from ddcore.losses import LOSSES
from ddcore.networks.base import NetworkPlan
from ddcore.rng import Streams
from ddcore.store import dealt
from ddcore.types import DataCard, Draw, Network, Params, Progress

ENSEMBLE_BYTES = 8 * CHUNK_BYTES
"""Largest activation of a training step for which nets are still trained side by side."""


def fresh_nets(
    plan: NetworkPlan,
    training: TrainingSet,
    card: DataCard,
    protocol: Protocol,
    lr: float,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    teacher_targets: TeacherTargets | None = None,
) -> Iterator[tuple[Draw, int]]:
    """Trained ensembles that together hold all the repeats, each with the items it can be measured on at once."""
    network = plan.fitted(card).build(card)
    floats = activation_floats(Draw(network, *network.init(Streams(seed)["net/0"])), card.shape)
    batch = min(protocol.batch, len(training))
    together = max(1, min(protocol.repeats, ENSEMBLE_BYTES // (4 * floats * batch)))
    chunk = max(1, CHUNK_BYTES // (4 * floats * together))
    augment = protocol.augment.fitted(card) if protocol.augment else None
    own = replace(protocol, augment=augment)
    for part in slices(protocol.repeats, together):
        nets = range(part.start, part.stop)
        told = f"training {plan.part_name()}"
        yield train(network, training, card, own, lr, nets, seed, device, told, progress, teacher_targets), chunk


def train(
    network: Network,
    training: TrainingSet,
    card: DataCard,
    protocol: Protocol,
    lr: float,
    nets: Sequence[int],
    seed: int,
    device: torch.device,
    told: str = "training",
    progress: Progress | None = None,
    teacher_targets: TeacherTargets | None = None,
    after_step: Callable[[Params], None] | None = None,
) -> Draw:
    """An ensemble with the fresh nets of the numbers ``nets``, trained side by side.

    Net i has its own streams for its start, its batches and its augmentation, so it comes out the same,
    up to rounding, whichever nets are trained beside it. ``after_step`` may change the parameters, in place.
    """
    rng = Streams(seed)
    starts = [network.init(rng[f"net/{i}"]) for i in nets]
    params = {k: torch.stack([p[k] for p, _ in starts]).to(device).requires_grad_() for k in starts[0][0]}
    buffers = {k: torch.stack([b[k] for _, b in starts]).to(device) for k in starts[0][1]}
    draw = Draw(network, params, buffers, ensemble=len(nets))
    order = training.order if protocol.replay else None
    steps = protocol.length(len(training)) if order is None else len(order)
    own = None if order is None or training.step_sizes is None else training.step_sizes.tolist()
    leaves = list(params.values())
    optimiser = protocol.build_optimiser(leaves, lr)
    if order is not None:
        optimiser = torch.optim.SGD(leaves, lr, training.momentum)
    teacher_targets = teacher_targets if protocol.temperature is not None else None
    temperature = protocol.temperature if teacher_targets is not None and protocol.temperature else 1.0
    batches = [
        _batches(len(training), protocol.batch, rng[f"order/{i}"]) if order is None else iter(order) for i in nets
    ]
    for step in range(steps):
        if own is not None:
            _set_rate(optimiser, own[step])
        elif protocol.schedule == "half" and step == steps // 2:
            optimiser = protocol.build_optimiser(leaves, lr / 10)
        elif protocol.schedule == "cosine":
            _set_rate(optimiser, lr * (1 + math.cos(math.pi * step / steps)) / 2)
        elif protocol.schedule == "thirds":
            _set_rate(optimiser, lr * 0.2 ** ((3 * step >= 2 * steps) + (6 * step >= 5 * steps)))
        elif protocol.schedule == "warm":
            up, down = 2 * (step + 1) / steps, (1 + math.cos(math.pi * (2 * step / steps - 1))) / 2
            _set_rate(optimiser, lr * (up if 2 * step < steps else down))
        rows = [next(b) for b in batches]
        inputs, targets = _taken(training, rows, protocol, rng, nets, card, device, teacher_targets, temperature)
        logits = draw(inputs) / temperature
        loss = LOSSES[training.loss](logits.flatten(0, 1), targets.flatten(0, 1)).mean() * len(nets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if after_step:
            with torch.no_grad():
                after_step(params)
        if progress:
            progress(told, step + 1, steps)
    return replace(draw, params={name: value.detach() for name, value in params.items()})


def _set_rate(optimiser: Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def _batches(items: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices, epoch after epoch, the last batch of each as small as it falls."""
    while True:
        yield from torch.randperm(items, generator=generator).split(size)


def _taken(
    training: TrainingSet,
    rows: Sequence[Tensor],
    protocol: Protocol,
    rng: Streams,
    nets: Sequence[int],
    card: DataCard,
    device: torch.device,
    teacher_targets: TeacherTargets | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The batch of each net, under that net's augmentation: inputs (e, n, ...) and targets (e, n, ...)."""
    inputs, targets = training.take(torch.cat(list(rows)))
    inputs, targets = inputs.to(device), targets.to(device)
    each, theirs = dealt(inputs, len(nets)), dealt(targets, len(nets))
    if teacher_targets is not None:
        heard = [
            teacher_targets(r, x, protocol.augment, rng[f"augment/{i}"])
            for i, r, x in zip(nets, rows, each, strict=True)
        ]
        each, logits = (torch.stack(tensors) for tensors in zip(*heard, strict=True))
        theirs = (logits / temperature).softmax(2)
    elif protocol.augment is not None:
        views = [protocol.augment.draw(rng[f"augment/{i}"], card.shape, n=each.shape[1]) for i in nets]
        each = torch.stack([view(x) for view, x in zip(views, each, strict=True)])
    if protocol.cutmix:
        mixed = [
            _cut_and_mixed(protocol, rng[f"cutmix/{i}"], card, *of) for i, *of in zip(nets, each, theirs, strict=True)
        ]
        each, theirs = (torch.stack(tensors) for tensors in zip(*mixed, strict=True))
    return each, theirs


def _cut_and_mixed(protocol: Protocol, generator: torch.Generator, card: DataCard, x: Tensor, y: Tensor):
    """The batch of one net with its shares of the classes, mixed as often as ``protocol.cutmix`` says."""
    mixing = CutMix.draw(generator, card.shape, card.classes)
    if float(torch.rand((), generator=generator)) >= protocol.cutmix:
        mixing = replace(mixing, rows=slice(0, 0))
    return mixing(x, y)
