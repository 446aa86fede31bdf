"""Meta-learning: the loss on T of a network that was trained on S, differentiated through its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
    """L = mean_T l( w_n(S) ): back-propagation through training.

    A student starts at ``draw.params`` and takes ``steps`` steps of SGD with ``momentum`` on ``batch`` items of S each
    (None: all of them, or one of every class where ``ordered``), at the fixed step size ``lr``, or without one at that
    which S learns: one for all steps, or one for ``each``. Batches are drawn without replacement, or, where S is
    ``ordered``, taken round and round, the classes by turns; with ``tasks`` above 1 the classes come in so many groups,
    one after another, each for its share of the steps. Each batch has its own draw of the recipe's augmentation, an
    item its own.

    L is the loss of S's labels on ``real`` items of T, all classes together, at the end of training; with ``checks``
    above 1 it is the mean of that at so many points of the way, evenly spaced. With ``window`` training ends after a
    random number of steps from ``window`` to ``steps``, and the derivative goes back through the last ``window`` only.

    What it tells is the norm of dL/dw_n: no gate discloses a loss.

    References: Wang et al., Dataset Distillation, 2018, Section 3; with momentum, Deng and Russakovsky, NeurIPS 2022,
    Eq. 3; ``checks``, Such et al., ICML 2020; ``window``, Feng, Vedantam and Kempe, ICLR 2024.
    """

    steps: int = 15
    batch: int | None = None
    lr: float | None = None
    each: bool = False
    ordered: bool = False
    tasks: int = 1
    momentum: float = 0.0
    real: int = 256
    checks: int = 1
    window: int | None = None
    memory: UnrollMemory = "exact"

    def faults(self) -> Iterator[str]:
        if min(self.steps, self.real, 1 if self.batch is None else self.batch) < 1 or not 0 <= self.momentum < 1:
            yield (f"{self}: steps, batch and real must be at least 1, momentum from 0 and below 1.")
        if self.lr is not None and (not 0 < self.lr < math.inf or self.each):
            yield (f"{self}: a fixed lr is above zero and finite, and each is for step sizes that S learns.")
        if not 1 <= self.checks <= (self.window or self.steps):
            yield (f"{self}: checks must be from 1 to the steps that a derivative goes back through.")
        if not 1 <= self.tasks <= self.steps or (self.tasks > 1 and not self.ordered):
            yield (f"{self}: tasks must be from 1 to the steps, and above 1 S must be ordered.")
        if self.window is not None and not 1 <= self.window <= self.steps:
            yield (f"{self}: window must be from 1 to the {self.steps} steps.")
        if self.memory == "tesla":
            yield (
                'objective.memory = "tesla" leaves out how later weights depend on S: take "exact", whose memory is as'
                " flat."
            )

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"gradient"})

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
                f"objective.tasks = {self.tasks}, but S has {len(classes.unique())} classes: each task wants one."
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
