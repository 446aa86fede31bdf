"""Training fresh networks, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from ddcore.augment.mixing import CutMix
from ddcore.chunking import activation_floats, chunk_bytes, slices
from ddcore.device import all_sent, sent
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import TeacherTargets
from ddcore.evaluation.training_set import TrainingSet
from ddcore.losses import LOSSES
from ddcore.memory import keep_heap
from ddcore.networks.base import NetworkPlan
from ddcore.networks.seeded import seeded
from ddcore.optimisers import Sgd
from ddcore.rng import Streams
from ddcore.store import dealt, inputs_on
from ddcore.types import DataCard, Draw, Network, Params, Progress

Attack = Callable[[Draw, Tensor, Tensor], Tensor]
"""A change of a batch made against the nets that are being trained on it."""

SIDE_BY_SIDE = 16
"""Chunks that the largest activation of a training step may take for nets to be trained side by side."""


@dataclass(frozen=True)
class FreshNets:
    """Fresh nets that are trained side by side, once somebody asks for them."""

    numbers: range
    """Which nets they are of the repeats."""
    chunk: int
    """How many items they can be measured on at once."""
    trained: Callable[[], Draw]

    @cached_property
    def draw(self) -> Draw:
        """The trained ensemble."""
        return self.trained()


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
    attack: Attack | None = None,
) -> Iterator[tuple[Draw, int]]:
    """Trained ensembles that together hold all the repeats, each with how many items it can be measured on at once."""
    found = to_train(plan, training, card, protocol, lr, seed, device, progress, teacher_targets, attack)
    return ((nets.draw, nets.chunk) for nets in found)


def to_train(
    plan: NetworkPlan,
    training: TrainingSet,
    card: DataCard,
    protocol: Protocol,
    lr: float,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    teacher_targets: TeacherTargets | None = None,
    attack: Attack | None = None,
) -> Iterator[FreshNets]:
    """As :func:`fresh_nets`, before any net is trained."""
    network = plan.ready(card)
    floats = activation_floats(Draw(network, *network.init(Streams(seed)["net/0"])), card.shape)
    batch = min(protocol.batch, len(training))
    together = max(1, min(protocol.repeats, SIDE_BY_SIDE * chunk_bytes(device) // (4 * floats * batch)))
    chunk = max(1, chunk_bytes(device) // (4 * floats * together))
    augment = protocol.augment.fitted(card) if protocol.augment else None
    own = replace(protocol, augment=augment)
    for part in slices(protocol.repeats, together):
        nets = range(part.start, part.stop)
        told = f"training {plan.part_name()}"
        given = (device, told, progress, teacher_targets)
        yield FreshNets(
            nets, chunk, partial(train, network, training, card, own, lr, nets, seed, *given, attack=attack)
        )


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
    attack: Attack | None = None,
) -> Draw:
    """An ensemble of the fresh nets with the numbers ``nets``, trained side by side.

    Each net has streams of its own, from its number, for its start, its batches, its augmentation and its dropout: it
    comes out the same, up to rounding, whichever nets are trained beside it, and so do two of one number.

    ``attack`` is called in each step, before the loss, with the draw as it is being trained, the inputs (e, n, ...) and
    the targets (e, n, ...), gradients enabled; the nets are trained on the inputs that it returns. ``after_step`` may
    change the parameters, in place.
    """
    keep_heap()
    each = [_Own(Streams(seed), i) for i in nets]
    network = seeded(network, *(own["dropout"] for own in each))
    starts = [network.init(own["net"]) for own in each]
    params = all_sent({k: torch.stack([p[k] for p, _ in starts]) for k in starts[0][0]}, device)
    params = {name: value.requires_grad_() for name, value in params.items()}
    buffers = all_sent({k: torch.stack([b[k] for _, b in starts]) for k in starts[0][1]}, device)
    draw = Draw(network, params, buffers, ensemble=len(nets))
    order = training.order if protocol.replay else None
    steps = protocol.length(len(training)) if order is None else len(order)
    rates = None if order is None or training.step_sizes is None else training.step_sizes.tolist()
    leaves = list(params.values())
    plan = protocol.optimiser if order is None else Sgd(momentum=training.momentum)
    optimiser = plan.build((leaves, lr))
    teacher_targets = teacher_targets if protocol.temperature is not None else None
    degree = protocol.temperature if teacher_targets is not None and protocol.temperature else 1.0
    soft = steps - round(protocol.hard * steps)
    hard = range(soft // 2, soft // 2 + steps - soft) if teacher_targets is not None else range(0)
    batches = [_batches(len(training), protocol.batch, own["order"]) if order is None else iter(order) for own in each]
    for step in range(steps):
        if rates is not None:
            optimiser.param_groups[0]["lr"] = rates[step]
        else:
            protocol.schedule.apply(optimiser, step, steps)
        rows = [next(b) for b in batches]
        take, heard, temperature = (training.take, teacher_targets, degree)
        if step in hard:
            take, heard, temperature = partial(_classes, training), None, 1.0
        inputs, targets = _taken(take, rows, protocol, each, card, device, heard, temperature)
        if attack:
            inputs = attack(draw, inputs, targets).detach()
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


@dataclass(frozen=True)
class _Own:
    """The streams of one net, by what they are for."""

    streams: Streams
    number: int

    def __getitem__(self, name: str) -> torch.Generator:
        return self.streams[f"{name}/{self.number}"]


def _batches(items: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices, epoch after epoch; the last batch of each may be smaller."""
    while True:
        yield from torch.randperm(items, generator=generator).split(size)


def _classes(training: TrainingSet, index: Tensor) -> tuple[Tensor, Tensor]:
    """As :meth:`TrainingSet.take`, with the class that each target gives most."""
    inputs, targets = training.take(index)
    return inputs, targets.argmax(1) if targets.ndim == 2 else targets


def _taken(
    take: Callable[[Tensor], tuple[Tensor, Tensor]],
    rows: Sequence[Tensor],
    protocol: Protocol,
    streams: Sequence[_Own],
    card: DataCard,
    device: torch.device,
    teacher_targets: TeacherTargets | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The batch of each net, under that net's augmentation: inputs (e, n, ...) and targets (e, n, ...)."""
    inputs, targets = take(torch.cat(list(rows)))
    inputs, targets = inputs_on(inputs, device), sent(targets, device)
    each, theirs = dealt(inputs, len(streams)), dealt(targets, len(streams))
    if teacher_targets is not None:
        heard = [
            teacher_targets(r, x, protocol.augment, own["augment"])
            for own, r, x in zip(streams, rows, each, strict=True)
        ]
        each, logits = (torch.stack(tensors) for tensors in zip(*heard, strict=True))
        theirs = (logits / temperature).softmax(2)
    elif protocol.augment is not None:
        views = [protocol.augment.draw(own["augment"], card.shape, n=each.shape[1]) for own in streams]
        each = torch.stack([view(x) for view, x in zip(views, each, strict=True)])
    if protocol.cutmix:
        mixed = [
            _cut_and_mixed(protocol, own["cutmix"], card, x, y) for own, x, y in zip(streams, each, theirs, strict=True)
        ]
        each, theirs = (torch.stack(tensors) for tensors in zip(*mixed, strict=True))
    return each, theirs


def _cut_and_mixed(protocol: Protocol, generator: torch.Generator, card: DataCard, x: Tensor, y: Tensor):
    """The batch of one net with its shares of the classes, mixed as often as ``protocol.cutmix`` says."""
    mixing = CutMix.draw(generator, card.shape, card.classes)
    if float(torch.rand((), generator=generator)) >= protocol.cutmix:
        mixing = replace(mixing, rows=slice(0, 0))
    return mixing(x, y)
