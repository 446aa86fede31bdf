"""The runner: a network goes through a stream, with a memory; and what is measured on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_replay.memory import Kept
from ddcore_replay.stream import Stream

Way = Literal["rehearse", "scratch"]
"""How a memory is used: beside each experience, or alone, to train a network anew after each."""

Matrix = Sequence[Sequence[float]]
"""a[i][j], accuracy on experience j after experience i, for j up to i; what more a row holds does not count."""


def average_accuracy(matrix: Matrix, after: int = -1) -> float:
    """(1 / T) sum_j a[T, j], over the T experiences so far."""
    return fmean(matrix[after][: len(matrix) if after < 0 else after + 1])


def forgetting(matrix: Matrix) -> float:
    """1 / (T - 1) sum_{j < T} ( max_{j <= i < T} a[i, j] - a[T, j] ) (Chaudhry et al., ECCV 2018); 0 for T = 1."""
    last = len(matrix) - 1
    lost = [max(matrix[i][j] for i in range(j, last)) - matrix[last][j] for j in range(last)]
    return fmean(lost) if lost else 0.0


def backward_transfer(matrix: Matrix) -> float:
    """1 / (T - 1) sum_{j < T} ( a[T, j] - a[j, j] ) (Lopez-Paz and Ranzato, NeurIPS 2017); 0 for T = 1."""
    last = len(matrix) - 1
    gained = [matrix[last][j] - matrix[j][j] for j in range(last)]
    return fmean(gained) if gained else 0.0


@dataclass(frozen=True)
class Training(dd.Part, kind="training"):
    """How a network is trained after each experience.

    ``rehearse``: one network goes on training on batches of the experience, each joined by items of the memory of
    earlier ones. ``scratch``: a fresh network is trained on the memory of all experiences so far and nothing else
    (GDumb, Prabhu et al., ECCV 2020; the protocol of DC and DM).
    """

    network: dd.NetworkPlan = field(default_factory=lambda: dd.ConvNet(width=32))
    """The network that is trained."""
    rehearsal: dd.Protocol = field(default_factory=lambda: dd.Protocol(steps=100, lr=(1e-3,), repeats=1))
    """How it is trained with ``rehearse``."""
    replayed: dd.Count = 64
    """Items of the memory in each batch, with ``rehearse``."""
    alone: dd.Protocol = field(default_factory=lambda: dd.Protocol(steps=250, repeats=1))
    """How it is trained with ``scratch``."""

    def faults(self) -> Iterator[str]:
        if self.rehearsal.cutmix or self.rehearsal.temperature:
            yield "rehearsal has neither cutmix nor a temperature: leave both out"


@dataclass(frozen=True)
class Course:
    """What came of a stream; seconds and bytes by experience."""

    matrix: list[list[float]] = field(default_factory=list)
    nbytes: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    condensing: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)


def go(
    stream: Stream,
    memory: Kept,
    training: Training,
    ways: Sequence[Way] = ("rehearse",),
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: dd.Progress | None = None,
) -> dict[Way, Course]:
    """Take a network through ``stream`` with ``memory``, in each of the ``ways``; the memory is filled once for all.

    Items are standardised by the numbers that the data declare, or by those of the first experience. Accuracy, in
    percent, is over all classes of the stream, those to come among them.
    """
    where, card = torch.device(device), stream.card
    first = stream.experiences[0].train
    preprocess = dd.Standardise().fitted(card).start(card, lambda: moments(first))
    walked: dict[Way, Course] = {way: Course() for way in ways}
    draw = started(training.network, card, seed, where)
    for i, experience in enumerate(stream.experiences):
        before = dd.Preprocessed(memory.store, preprocess)
        condensing = _seconds(lambda e=experience: memory.learn(e.train))
        after = dd.Preprocessed(memory.store, preprocess)
        for way, course in walked.items():
            if way == "rehearse":
                now = dd.Preprocessed(experience.train, preprocess)
                rng = dd.Streams(1000 * seed + i)
                spent = _seconds(lambda n=now, b=before, r=rng: rehearse(draw, n, b, training, card, r, where))
                tested = replace(draw, params={k: v.detach()[None] for k, v in draw.params.items()}, ensemble=1)
                tested = replace(tested, buffers={k: v[None] for k, v in draw.buffers.items()})
            else:
                begun = time.perf_counter()
                ((tested, _),) = _alone(training, after, card, 1000 * seed + i, where)
                spent = time.perf_counter() - begun
            tests = [dd.Preprocessed(e.test, preprocess) for e in stream.experiences[: i + 1]]
            course.matrix.append([float(dd.Accuracy()(tested, test, 500)) for test in tests])
            course.nbytes.append(memory.nbytes)
            course.images.append(len(memory.store))
            course.condensing.append(condensing)
            course.training.append(spent)
        if progress:
            progress("going through the stream", i + 1, len(stream.experiences))
    return walked


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def moments(store: dd.Store) -> dict[str, Tensor]:
    """``mean`` and ``std`` (c,) of the channels of ``store``, as the open gate tells them."""
    rng = dd.Streams(0)
    return dd.Open().build(dd.Source(store, (), rng, torch.device("cpu")), rng).statistics()


def started(plan: dd.NetworkPlan, card: dd.DataCard, seed: int, device: torch.device) -> dd.Draw:
    """A fresh network whose parameters can be trained."""
    network = plan.ready(card)
    params, buffers = network.init(dd.Streams(seed)["network"])
    params = {name: value.to(device).requires_grad_() for name, value in params.items()}
    return dd.Draw(network, params, {name: value.to(device) for name, value in buffers.items()})


def rehearse(
    draw: dd.Draw,
    now: dd.Preprocessed,
    memory: dd.Preprocessed,
    training: Training,
    card: dd.DataCard,
    rng: dd.Streams,
    device: torch.device,
) -> None:
    """Train ``draw``'s parameters, in place, on ``now`` with items of ``memory`` beside it."""
    protocol = training.rehearsal
    optimiser = protocol.optimiser.build((draw.params.values(), protocol.lr[0]))
    augment = protocol.augment.fitted(card) if protocol.augment else None
    batches, replayed = shuffled(len(now), protocol.batch, rng["now"]), iter(())
    if len(memory):
        replayed = shuffled(len(memory), training.replayed, rng["memory"])
    for _ in range(protocol.length(len(now))):
        parts = [now.take(next(batches))] + [memory.take(rows) for rows in [next(replayed, None)] if rows is not None]
        inputs, targets = (torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True))
        if augment is not None:
            inputs = augment.draw(rng["augment"], card.shape, n=len(inputs))(inputs)
        optimiser.zero_grad()
        dd.cross_entropy(draw(inputs), targets).mean().backward()
        optimiser.step()


def shuffled(items: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of batches of ``size``, or of all items where there are fewer, epoch after epoch, without end."""
    while True:
        yield from torch.randperm(items, generator=generator).split(size)


def _alone(training: Training, memory: dd.Preprocessed, card: dd.DataCard, seed: int, device: torch.device):
    """A fresh network trained on ``memory``, as the core evaluates distilled sets."""
    protocol = replace(training.alone, repeats=1)
    return dd.fresh_nets(training.network, memory, card, protocol, protocol.lr[0], seed, device)
