"""A run: a recipe at work on real data."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from typing import Any, Protocol, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ddcore.artefact import DistilledSet, check_stated, stated
from ddcore.checkpoint import RunState, in_short, moved
from ddcore.composition import Recipe
from ddcore.context import Context
from ddcore.data import RealData
from ddcore.errors import BadCheckpoint, LossDiverged
from ddcore.gate.base import Gate
from ddcore.gate.counted import CountedGate
from ddcore.gate.record import SpendRecord
from ddcore.gate.recorded import RecordedGate
from ddcore.memory import WithinMemory, keep_heap
from ddcore.networks.seeded import seeded
from ddcore.preprocess import Fitted
from ddcore.rng import Streams
from ddcore.store import plain
from ddcore.synthetic import SyntheticSet
from ddcore.tensors import LabelledTensors
from ddcore.trace import Trace
from ddcore.types import DataCard, Draw, Progress, Transform


class Hooks(Protocol):
    """What a run needs of the hooks: each a call by keyword."""

    ddcore_distill: Callable[..., DistilledSet]
    ddcore_step: Callable[..., float]


class Run:
    """A recipe at work.

    The loop, with the hooks in their places::

        ddcore_distill(run)             # a plugin's wrapper stands around all of it
            start                       # preprocessing and the carrier are filled in, through the gate
            until iterations:
                ddcore_step(run)        # a plugin's wrapper stands around each step
                    draw = policy.draw
                    views follow draw
                    for loss in objective.accumulate(draw, S): clip, step, zero_grad
            export

    A hook may read the attributes below; the others may change in any release. ``on_step`` is called after each step
    with its record, ``on_pause`` in mid-step wherever ``state_dict`` holds all that the step has done, and
    ``on_distilled`` with the set that the loop has made, before the plugins' wrappers see it.
    """

    recipe: Recipe
    """With all that was left to the data decided."""
    card: DataCard
    device: torch.device
    rng: Streams
    gate: Gate
    """Wrapped, to count what is asked of it; ``unwrapped`` is the gate that the recipe names."""
    trace: Trace
    """Who was called, and what each asked of the gate."""
    record: SpendRecord | None
    """What the gate has told, on disk; None where it guards nothing, or where the run leaves no files: then what a
    process that is killed has told is known to nobody, and neither are its answers."""
    ctx: Context
    """What the parts are handed."""
    synthetic: SyntheticSet
    """S; on ``device``."""
    started: bool
    """The preprocessing is fitted and S has its first values: after the first ``yield`` of ``ddcore_distill``, and in
    every ``ddcore_step``."""
    preprocess: Fitted | None
    """None until the run has started."""
    draw: Draw | None
    """The network of the last step, or of the one in hand; None before the first."""
    step: int
    """Steps that are done."""
    seconds: float
    """Time spent so far, earlier sittings included."""
    facts: dict[str, Any]
    """What the artefact's card shall say besides; a hook may add to it."""

    def __init__(
        self,
        recipe: Recipe,
        data: RealData,
        hooks: Hooks,
        device: str | torch.device = "cpu",
        on_step: Callable[[Run, dict[str, Any]], None] | None = None,
        progress: Progress | None = None,
        on_pause: Callable[[Run], None] | None = None,
        on_distilled: Callable[[DistilledSet], None] | None = None,
        record: SpendRecord | None = None,
        trace: Trace | None = None,
    ) -> None:
        keep_heap()
        self.recipe = recipe
        self.card = data.card
        self._train = data.train
        self.hooks = hooks
        self.device = torch.device(device)
        self.on_step = on_step
        self.on_pause = on_pause
        self.on_distilled = on_distilled
        self.rng = Streams(recipe.seed)
        self.gate = recipe.gate.live(data.train, recipe.views, self.rng, self.device)
        self.record = record if recipe.gate.guards else None
        if self.record is not None:
            self.gate = RecordedGate(self.gate, self.record)
        self.trace = trace or Trace()
        self.gate = CountedGate(self.gate, self.trace.count)
        with WithinMemory("S"):
            carrier = recipe.synthetic.ready(data.card)
            labels = recipe.labels.build(data.card, carrier)
            step_sizes = recipe.objective.step_sizes if recipe.objective else 0
            self.synthetic = SyntheticSet(carrier, labels, recipe.step_size, step_sizes).to(self.device)
        self.averaged: AveragedModel | None = None
        self.optimiser = None
        if recipe.objective is not None:
            self.optimiser = recipe.update.build(self.synthetic)
            if recipe.update.ema is not None:
                running_mean = get_ema_multi_avg_fn(recipe.update.ema)
                self.averaged = AveragedModel(self.synthetic, multi_avg_fn=running_mean)
        network = seeded(recipe.network.ready(data.card), self.rng["network"])
        self.ctx = Context(
            data.card, network, self.gate, self.rng, self.device, self._view, lambda: self.step, progress, self._pause
        )
        self.started = False
        self.preprocess = None
        self.policy: dict[str, Any] = {}
        self.draw = None
        self.step = 0
        self.seconds = self._counted = 0.0
        self.facts = {}

    def _view(self, n: int | None = None) -> Transform:
        if self.recipe.augment is None:
            return lambda x: x
        augment = self.recipe.augment.at(self.step / max(1, self.recipe.iterations))
        return augment.draw(self.rng["augment"], self.card.shape, n)

    def _count(self) -> None:
        """Add the time since it was last counted."""
        now = time.perf_counter()
        self.seconds += now - self._counted
        self._counted = now

    def _pause(self) -> None:
        self._count()
        if self.on_pause:
            self.on_pause(self)

    def start(self) -> None:
        """Fill in what comes from the data, once, in the first moment of the run."""
        if not self.started:
            check_stated(*self._stated())
            self._counted = time.perf_counter()
            self._preprocess(self.recipe.preprocess.start(self.card, self.gate.statistics))
            self.synthetic.start(self.ctx)
            self.started = True
            self._count()

    def _preprocess(self, fitted: Fitted) -> None:
        self.preprocess = fitted
        self.gate.source.preprocess = fitted

    def run_until(self, until: int | None = None) -> None:
        """Step until ``until`` (or the recipe's last iteration)."""
        self.start()
        last = self.recipe.iterations if until is None else min(until, self.recipe.iterations)
        while self.step < last:
            self._counted = time.perf_counter()
            loss = self.hooks.ddcore_step(run=self)
            self._count()
            if self.on_step:
                self.on_step(self, {"step": self.step, "loss": loss, "seconds": round(self.seconds, 6)})

    def update(self) -> float:
        """One step: a network is drawn, gradients are written, S moves. Answers the loss.

        Raises:
            LossDiverged: the loss, or what S becomes, is not finite. The last checkpoint holds the run before it.
        """
        recipe = self.recipe
        assert recipe.objective is not None and self.optimiser is not None
        self.draw = recipe.policy.draw(self.policy, self.synthetic, self.ctx)
        self.synthetic.carrier.follow(self.draw, self.rng["carrier"])
        self.synthetic.follow(self.draw)
        self.gate.source.follow(self.draw)
        resting = [self.synthetic.groups()[name] for name in recipe.update.resting(self.step)]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        total = 0.0
        recipe.update.schedule.apply(self.optimiser, self.step, recipe.iterations)
        self.optimiser.zero_grad()
        for loss in recipe.objective.accumulate(self.draw, self.synthetic, self.ctx):
            if not math.isfinite(loss):
                raise self._diverged(f"The loss of {recipe.name} is {loss}", f"update.lr (now {recipe.update.lr})")
            for parameter in chain.from_iterable(resting):
                parameter.grad = None
            if recipe.update.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, recipe.update.clip)
            self.optimiser.step()
            self.optimiser.zero_grad()
            for name, fault in self.synthetic.faults():
                raise self._diverged(fault, f"update.lr.{name} (now {recipe.update.lr[name]})")
            if recipe.update.clamp:
                self.synthetic.carrier.project(self._within_range)
            total += loss
        if self.averaged is not None:
            self.averaged.update_parameters(self.synthetic)
        self.step += 1
        return total

    def _diverged(self, what: str, rate: str) -> LossDiverged:
        return LossDiverged(
            f"{what} at step {self.step + 1}. The last checkpoint holds the run before it. A smaller {rate} or an"
            " update.clip usually helps."
        )

    def _stated(self) -> list[dict[str, Any]]:
        """The facts of each view, the policy's, the run's own and the gate's."""
        own = {"seed": self.recipe.seed, "steps": self.step, "seconds": round(self.seconds, 3)}
        known = {} if self.recipe.gate.guards else {"fingerprint": self._train.content}
        views = (view.facts() for view in self.gate.source.views)
        return [*views, self.recipe.policy.facts(self.policy), own, known, self.gate.facts()]

    def _within_range(self, images: torch.Tensor) -> torch.Tensor:
        assert self.preprocess is not None
        return self.preprocess(self.preprocess.inverse(images).clamp(0, 1))

    def state_dict(self) -> dict[str, Any]:
        """All that the run needs to go on as if it had never stopped: tensors, numbers, strings, lists, dicts."""
        return {
            "recipe": self.recipe.to_toml(),
            "data": _plain(self.card),
            "content": self._train.content,
            "step": self.step,
            "seconds": self.seconds,
            "facts": self.facts,
            "started": self.started,
            "synthetic": self.synthetic.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimiser": self.optimiser.state_dict() if self.optimiser else None,
            "preprocess": self.preprocess.state_dict() if self.preprocess else None,
            "policy": self.policy,
            "gate": self.gate.state_dict(),
            "views": [view.state_dict() for view in self.gate.source.views],
            "rng": self.rng.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where ``state`` was taken.

        Raises:
            BadCheckpoint: it belongs to another recipe or to other data, or is not the state of a run.
        """
        try:
            checked = RunState.model_validate(state)
            self._refuse_another(checked)
            self._load(state, checked)
        except BadCheckpoint:
            raise
        except Exception as error:  # the parts' own code, which may be given anything
            raise BadCheckpoint(f"The checkpoint is damaged: {in_short(error)}.") from error

    def _refuse_another(self, state: RunState) -> None:
        if state.recipe != self.recipe.to_toml():
            raise BadCheckpoint("The checkpoint belongs to another recipe; resume it with the recipe it was made by.")
        mine = _plain(self.card)
        names = [name.replace("_", " ") for name in mine if mine[name] != state.data.get(name)]
        if names or state.content != self._train.content:
            differing = f"{', '.join(names)} differ" if names else "items or labels have changed"
            raise BadCheckpoint(
                f"The checkpoint was made on other data than {self.card.name} as it is now: {differing}. Go on with"
                " the data that it was made on, or begin anew in another folder."
            )

    def _load(self, state: dict[str, Any], checked: RunState) -> None:
        checked.check(self.recipe.iterations)
        self.synthetic.load_state_dict(state["synthetic"])
        if (checked.averaged is None, checked.optimiser is None) != (self.averaged is None, self.optimiser is None):
            raise ValueError("what learns and what is averaged are not the recipe's")
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.optimiser is not None and checked.optimiser is not None:
            checked.optimiser.check(self.optimiser)
            self.optimiser.load_state_dict(state["optimiser"])
        if checked.preprocess is not None:
            fitted, probe = self.recipe.preprocess.load(state["preprocess"]), torch.zeros(1, *self.card.shape)
            if fitted(probe).shape != probe.shape:
                raise ValueError("its preprocessing is of items of another shape")
            self._preprocess(fitted)
        self.recipe.policy.check_state(state["policy"], self.ctx.network)
        self.policy = moved(state["policy"], self.device)
        self.gate.load_state_dict(moved(state["gate"], self.device))
        for view, its in zip(self.gate.source.views, state["views"], strict=True):
            view.load_state_dict(moved(its, self.device))
        self.rng.load_state_dict(state["rng"])
        self.started, self.step, self.seconds = checked.started, checked.step, checked.seconds
        self.facts = state["facts"]

    def export(self) -> DistilledSet:
        """What has been distilled so far, as an artefact."""
        assert self.preprocess is not None and self.started, "a run exports once it has started"
        synthetic = self.synthetic
        if self.averaged is not None and int(self.averaged.n_averaged):
            synthetic = cast(SyntheticSet, self.averaged.module)
        bits = self.recipe.synthetic.stored_bits
        with torch.no_grad(), synthetic.carrier.in_bits(bits):
            synthetic.finish(self.ctx)
            inputs, targets = synthetic.everything()
            latent = synthetic.carrier.latent()
            replay = self.recipe.objective.replay(synthetic) if self.recipe.objective else None
            step_sizes = synthetic.step_size if replay is None else replay.step_sizes
        tensors = LabelledTensors(
            plain(inputs).detach().cpu().clone(),
            targets.detach().cpu().clone(),
            synthetic.labels.loss_name,
            None if step_sizes is None else step_sizes.detach().cpu().reshape(-1).clone(),
            None if replay is None else replay.order.cpu(),
            0.0 if replay is None else replay.momentum,
        )
        distilled = DistilledSet(
            tensors=tensors,
            data=self.card,
            method=self.recipe.name,
            recipe=self.recipe.to_toml(),
            nbytes=synthetic.nbytes(),
            preprocess=type(self.recipe.preprocess).part_name(),
            preprocess_state={k: v.cpu() for k, v in self.preprocess.state_dict().items()},
            latent=latent,
            teaching=synthetic.labels.teaching(),
            versions={name: version(name) for name in ("ddcore", "torch")},
            facts=stated(*self._stated(), self.facts),
        )
        return distilled if bits is None else distilled.at(bits)


def _plain(card: DataCard) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(card)))
