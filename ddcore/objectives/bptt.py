"""Meta-learning: the loss on T of a network that was trained on S, differentiated through its training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddcore.bounds import Count, Decay, Positive
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.objectives.base import Objective
from ddcore.objectives.batches import interleave_classes, loss_on_real
from ddcore.objectives.student import Student, shuffled
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Group, ItemLoss, Params, Replay
from ddcore.unroll import UnrollMemory


@dataclass(frozen=True)
class Bptt(Objective):
    """L = mean_T l( w_n(S) ): the loss on T after training on S, back-propagated through that training.

    A student starts at ``draw.params`` and takes n steps of SGD on S, each batch under its own draw of the recipe's
    augmentation, drawn separately for each item. L is the loss of S's labels on all classes of T together. It reports
    the norm of dL/dw_n: no gate discloses a loss.

    **References**: Wang et al., Dataset Distillation, 2018, Section 3; with momentum, Deng and Russakovsky, NeurIPS
    2022, Eq. 3; ``checks``, Such et al., ICML 2020; ``window``, Feng, Vedantam and Kempe, ICLR 2024.
    """

    steps: Count = 15
    """Steps of the student, n."""
    batch: Count | None = None
    """Items of S per step; None for all of them, or for one of every class where ``ordered``."""
    lr: Positive | None = None
    """Fixed step size of the student; None for what S learns (``step_size``)."""
    each: bool = False
    """Whether S learns one step size per step instead of one for all."""
    ordered: bool = False
    """Whether batches are taken in a fixed order, classes interleaved, that belongs to S; else drawn without
    replacement."""
    tasks: Count = 1
    """Groups of classes that come one after another, each for its share of the steps; above 1 S must be ordered."""
    momentum: Decay = 0.0
    """Momentum of the student's SGD."""
    real: Count = 256
    """Items of T on which L is taken."""
    checks: Count = 1
    """Evenly spaced points of the training over which L is averaged; 1 for its end alone."""
    window: Count | None = None
    """Steps that the derivative goes back through; training then ends after a random number of steps from ``window`` to
    ``steps``. None for all steps."""
    memory: UnrollMemory = "exact"
    """How the student's training is differentiated: ``full`` keeps all steps, ``exact`` has the same derivative at flat
    memory; see :data:`ddcore.unroll.UnrollMemory`."""

    def faults(self) -> Iterator[str]:
        if self.lr is not None and self.each:
            yield "lr is a fixed step size, and each is for step sizes that S learns: give one of them"
        if self.window is not None and self.window > self.steps:
            yield f"window = {self.window}: it must be at most steps = {self.steps}"
        if self.checks > (self.window or self.steps):
            yield f"checks = {self.checks}: it must be at most the steps that a derivative goes back through"
        if self.tasks > self.steps:
            yield f"tasks = {self.tasks}: it must be at most steps = {self.steps}"
        if self.tasks > 1 and not self.ordered:
            yield f"tasks = {self.tasks} come one after another, so S must be ordered: set ordered = true"
        if self.memory == "tesla":
            yield ('memory = "tesla" leaves out how later weights depend on S: take "exact", whose memory is as flat')

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"student"})

    @property
    def step_sizes(self) -> int:
        if self.lr is not None:
            return 0
        return self.steps if self.each else 1

    def replay(self, synthetic: SyntheticSet) -> Replay | None:
        if not self.ordered:
            return None
        classes = synthetic.carrier.classes
        groups = classes.unique().tensor_split(self.tasks)
        if not len(groups[-1]):
            raise RecipeRefused(
                f"objective.tasks = {self.tasks}, but S has {len(classes.unique())} classes: each task needs one."
            )
        parts, size = [], self.batch or len(groups[0])
        for t, group in enumerate(groups):
            mine = torch.isin(classes, group).nonzero().flatten()
            rows = mine[interleave_classes(classes[mine])]
            steps = self.steps * (t + 1) // self.tasks - self.steps * t // self.tasks
            taken = torch.arange(steps * size, device=rows.device)
            parts.append(rows[taken % len(rows)].unflatten(0, (steps, size)))
        order = torch.cat(parts)
        return Replay(order, self._rates(synthetic), self.momentum)

    def accumulate(self, draw: Draw, synthetic: SyntheticSet, ctx: Context) -> Iterator[float]:
        steps = self.steps
        if self.window is not None:
            steps = int(torch.randint(self.window, self.steps + 1, (), generator=ctx.rng["batches"]))
        replay = self.replay(synthetic)
        if replay is None:
            rows = shuffled(len(synthetic), self.batch, steps, ctx.rng["batches"])
        else:
            rows = list(replay.order[:steps])
        student = Student(draw, synthetic, rows, ctx)
        way = student.trained(self._rates(synthetic)[:steps], self.momentum, self.memory, self.window)
        span = min(steps, self.window or steps)
        points = [steps - span + span * (i + 1) // self.checks for i in range(self.checks)]
        loss = loss_on_real(synthetic.labels, ctx.card.classes)
        answers = {point: self._answer(replace(draw, params=way.points[point]), loss, ctx) for point in points}
        last = answers.pop(steps)
        way.backward(last, answers)
        student.backward_to_parameters()
        yield float(torch.stack([value.square().sum() for value in last.values()]).sum().sqrt())

    def _rates(self, synthetic: SyntheticSet) -> Tensor:
        """The step size of each step, (steps,)."""
        if self.lr is not None:
            return torch.full((self.steps,), self.lr, device=synthetic.carrier.classes.device)
        assert synthetic.step_size is not None
        return synthetic.step_size.expand(self.steps)

    def _answer(self, draw: Draw, loss: ItemLoss, ctx: Context) -> Params:
        """The gradient of L at a point of the way."""
        (found,) = ctx.gate.gradient(draw, [Group(size=self.real)], loss)
        return {name: value / self.checks for name, value in found.items()}
