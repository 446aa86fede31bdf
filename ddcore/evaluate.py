"""Evaluation: fresh networks are trained on a small set and tested on the real one."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal, Self
from typing import Protocol as Interface

import torch
from torch import Tensor
from torch.optim import Optimizer

from ddcore.augment import Affine, Augment, Crop, CutMix, Siamese, cropped
from ddcore.data import RealData, Store
from ddcore.errors import RecipeRefused, UnknownName
from ddcore.gate import LOSSES, LossName
from ddcore.memory import CHUNK_BYTES, activation_floats, cut
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.parts import Part
from ddcore.preprocess import Fitted
from ddcore.rng import Streams
from ddcore.types import DataCard, Draw, Network, Params, Progress

ENSEMBLE_BYTES = 8 * CHUNK_BYTES
"""Largest activation of a training step for which nets are still trained side by side."""


class TrainingSet(Interface):
    """What networks can be trained on."""

    @property
    def nbytes(self) -> int:
        """Bytes that must be stored to have it."""
        ...

    @property
    def step_sizes(self) -> Tensor | None:
        """Learning rates (t,) that it brings, None where it brings none."""
        ...

    @property
    def order(self) -> Tensor | None:
        """The items (t, b) that each of t steps shall see, None where it is made for any order."""
        ...

    @property
    def momentum(self) -> float:
        """That of SGD in the steps of ``order``."""
        ...

    @property
    def loss(self) -> LossName:
        """What its targets are made for."""
        ...

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Preprocessed inputs and targets at ``index`` (n,)."""
        ...


class Lessons(Interface):
    """What a set brings to teach a network by, beside one target an item."""

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """How ``inputs`` (n, ...), the items at ``rows`` (n,), shall be seen, and a teacher's logits (n, k) of that."""
        ...


@dataclass(frozen=True)
class Views:
    """Each item as one of its stored views shows it, drawn uniformly: ``boxes`` (n, v, 4), ``logits`` (n, v, k)."""

    boxes: Tensor
    logits: Tensor

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        which = torch.randint(self.logits.shape[1], (len(rows),), generator=generator)
        return cropped(self.boxes[rows, which])(inputs), self.logits[rows, which].to(inputs)


@dataclass(frozen=True)
class Tutor:
    """A teacher that says of each augmented item what it sees."""

    teacher: Draw

    def __call__(
        self, rows: Tensor, inputs: Tensor, augment: Augment | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        shape = tuple(inputs.shape[1:])
        seen = augment.draw(generator, shape, n=len(inputs))(inputs) if augment else inputs
        with torch.no_grad():
            return seen, self.teacher(seen, training=False)


@dataclass(frozen=True)
class Preprocessed:
    """A real store as networks take it."""

    store: Store
    preprocess: Fitted
    step_sizes: None = None
    order: None = None
    momentum: float = 0.0
    loss: LossName = "cross_entropy"

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    def __len__(self) -> int:
        return len(self.store)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        batch = self.store.take(index)
        return self.preprocess(batch.inputs), batch.targets


class Measure(Part, kind="measure"):
    """A number about trained networks."""

    @abstractmethod
    def __call__(self, draw: Draw, data: TrainingSet, chunk: int) -> Tensor:
        """One number a net (e,) for the ensemble ``draw``; ``chunk`` items fit memory at once."""


@dataclass(frozen=True)
class Accuracy(Measure):
    """Items whose largest logit is their class, in percent."""

    def __call__(self, draw: Draw, data: TrainingSet, chunk: int) -> Tensor:
        assert draw.ensemble is not None
        device = next(iter(draw.params.values())).device
        right = torch.zeros(draw.ensemble)
        with torch.no_grad():
            for part in cut(len(data), chunk):
                inputs, targets = data.take(torch.arange(part.start, part.stop))
                nets = inputs.to(device).expand(draw.ensemble, *inputs.shape)
                right += (draw(nets, training=False).argmax(2).cpu() == targets).sum(1)
        return 100 * right / len(data)


@dataclass(frozen=True)
class Score:
    """One measure over fresh nets; ``std`` is the sample deviation over nets."""

    values: tuple[float, ...]
    lr: float
    """The learning rate the nets were trained with."""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def std(self) -> float:
        return stdev(self.values) if len(self.values) > 1 else 0.0


Scores = dict[str, dict[str, Score]]
"""Score by measure and network name."""


@dataclass(frozen=True)
class Protocol(Part, kind="protocol"):
    """How fresh nets are trained on a set, and what is measured of them on the test split.

    ``steps`` or ``epochs`` says how long. With more than one ``lr``, each is tried and the one with the best mean
    accuracy on the validation split of T is reported: nothing is ever chosen on the test split.

    ``schedule``: ``cosine`` to zero; ``half``: a tenth of the rate, with a new optimiser, from half way on; ``thirds``:
    a fifth from two thirds on, and a fifth of that from five sixths on; ``warm``: from zero up to half way, then
    ``cosine``.
    """

    steps: int | None = 250
    epochs: int | None = None
    batch: int = 64
    optimiser: Literal["sgd", "adam", "adamw"] = "adam"
    lr: tuple[float, ...] = (2e-3,)
    learned_lr: bool = False
    """A set that brings a learned step size is trained with that instead of ``lr``."""
    replay: bool = False
    """A set that brings an order is trained on in that order, once, at the step sizes and momentum that it brings."""
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "half", "thirds", "warm"] = "cosine"
    augment: Augment | None = Affine()
    cutmix: float = 0.0
    """Probability that a batch is mixed, box by box, with its labels."""
    temperature: float | None = None
    """A set that brings a teacher, or what one says of views of its items, is learned from that instead of its targets:
    by the divergence of softmax(logits / temperature) from the teacher's. None for the targets."""
    repeats: int = 5
    networks: tuple[NetworkPlan, ...] = (ConvNet(),)
    measures: tuple[Measure, ...] = (Accuracy(),)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise RecipeRefused("A protocol says either steps or epochs, not both and not neither.")
        if min(self.steps or self.epochs or 0, self.repeats, self.batch, len(self.lr), len(self.networks)) < 1:
            raise RecipeRefused("A protocol needs at least one step, item, repeat, learning rate and network.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise RecipeRefused(f"A protocol's temperature is above zero and finite, not {self.temperature}.")

    @classmethod
    def named(cls, name: str) -> Self:
        """The preset of that name; :data:`TOLD` says what each is.

        Raises:
            UnknownName: no such preset.
        """
        if name not in PRESETS:
            raise UnknownName("protocol", name, PRESETS)
        return cls(**PRESETS[name])

    def check(self, data: RealData) -> None:
        """Refuse what cannot be evaluated on ``data``, before any work.

        Raises:
            RecipeRefused: several learning rates to choose from and no validation split to choose on, or a network
                that the items are too small for.
        """
        if len(self.lr) > 1 and data.validation is None:
            raise RecipeRefused(
                f"The protocol tries {len(self.lr)} learning rates, which wants a validation split of T to choose on:"
                " ask for one (--validation 0.1, or data.with_validation(0.1, seed=0)), or give one rate."
            )
        for plan in self.networks:
            plan.fitted(data.card).build(data.card)

    def length(self, items: int) -> int:
        """Training steps on a set of ``items``."""
        return self.steps if self.steps is not None else (self.epochs or 0) * math.ceil(items / self.batch)

    def build_optimiser(self, params: Sequence[Tensor], lr: float) -> Optimizer:
        if self.optimiser != "sgd":
            adam = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
            return adam(params, lr=lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(params, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay)


_DC = {
    "steps": None,
    "epochs": 300,
    "batch": 256,
    "optimiser": "sgd",
    "lr": (0.01,),
    "weight_decay": 5e-4,
    "schedule": "half",
    "augment": None,
}
_DSA = {**_DC, "epochs": 1000, "augment": Siamese()}
_IDC = {
    **_DSA,
    "batch": 64,
    "schedule": "thirds",
    "augment": Siamese(("color", "crop", "flip", "scale", "rotate")),
    "cutmix": 0.5,
}
_FKD = {
    "steps": None,
    "epochs": 300,
    "optimiser": "adamw",
    "lr": (1e-3,),
    "weight_decay": 0.01,
    "augment": Crop(),
    "temperature": 20.0,
}
_FREPO = {"steps": 1000, "batch": 500, "lr": (3e-4,), "schedule": "warm", "augment": Siamese()}
_DD = {"steps": 30, "optimiser": "sgd", "lr": (0.02,), "momentum": 0.0, "augment": None, "replay": True}
_RTP = {**_DC, "batch": 640, "weight_decay": 0.0, "schedule": "constant"}
PRESETS = {
    "quick": {},
    "dc": _DC,
    "dsa": _DSA,
    "mtt": {**_DSA, "learned_lr": True},
    "idc": _IDC,
    "dd": _DD,
    "rtp": _RTP,
    "frepo": _FREPO,
    "fkd": _FKD,
}
TOLD = {
    "quick": "250 steps of Adam at 2e-3, cosine, batches of 64 under affine changes: minutes on two cores.",
    "dc": (
        "The protocol of Zhao et al. (ICLR 2021): 300 epochs of SGD at 0.01, momentum 0.9, weight decay 5e-4, batches "
        "of 256, a tenth of the rate from half way on, no augmentation. Differs: 5 nets, not 20; 300 epochs, not 301."
    ),
    "dsa": "As `dc` for 1 000 epochs under siamese augmentation, each item its own (Zhao and Bilen, ICML 2021).",
    "mtt": "As `dsa`, at the step size that the set brings (Cazenavette et al., CVPR 2022).",
    "dd": (
        "The steps that the set brings, in their order, at their step sizes and momentum, by SGD (Wang et al., 2018); "
        "a set that brings none is trained for 30 such steps at 0.02, along a cosine."
    ),
    "rtp": (
        "300 epochs of SGD at a constant 0.01, momentum 0.9, batches of 640, no augmentation (Deng and Russakovsky, "
        "NeurIPS 2022)."
    ),
    "idc": (
        "1 000 epochs of SGD at 0.01 in batches of 64, a fifth of the rate from two thirds and again from five sixths "
        "on, siamese augmentation without cutout, half of the batches under cutmix (Kim et al., ICML 2022)."
    ),
    "frepo": (
        "1 000 steps of Adam at 3e-4 in batches of 500, warmed up over the first half, siamese augmentation, each "
        "item its own (Zhou et al., NeurIPS 2022). Differs: one change of the six a batch, none of them a shift "
        "beyond the crop's."
    ),
    "fkd": (
        "300 epochs of AdamW at 0.001, weight decay 0.01, cosine, under random crops, each item its own, from what a "
        "teacher says of them at temperature 20 (Yin, Xing and Shen, NeurIPS 2023). Differs: batches of 64, not 1 "
        "024; the gradient is not less for the temperature, which Adam would not feel; no cutmix."
    ),
}
"""What the presets are."""


def evaluate(
    training: TrainingSet,
    data: RealData,
    preprocess: Fitted,
    protocol: Protocol,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    lessons: Lessons | None = None,
) -> Scores:
    """Train ``protocol.repeats`` fresh nets of each network on ``training`` and measure them on ``data.test``.

    ``lessons``: what ``training`` brings to be taught by, for protocols with a temperature.

    Raises:
        RecipeRefused: as :meth:`Protocol.check` says.
    """
    protocol.check(data)
    scores: Scores = {type(measure).part_name(): {} for measure in protocol.measures}
    for plan in protocol.networks:
        trained = []
        own = training.step_sizes if protocol.learned_lr or (protocol.replay and training.order is not None) else None
        for lr in protocol.lr if own is None else (float(own.mean()),):
            nets = list(
                fresh_nets(plan, training, data.card, protocol, lr, seed, torch.device(device), progress, lessons)
            )
            held = Preprocessed(data.validation, preprocess) if data.validation and len(protocol.lr) > 1 else None
            chosen_by = fmean(v for d, chunk in nets for v in Accuracy()(d, held, chunk).tolist()) if held else 0.0
            trained.append((chosen_by, lr, nets))
        _, lr, nets = max(trained, key=lambda found: found[0])
        test = Preprocessed(data.test, preprocess)
        for measure in protocol.measures:
            values = tuple(v for draw, chunk in nets for v in measure(draw, test, chunk).tolist())
            scores[type(measure).part_name()][plan.part_name()] = Score(values, lr)
    return scores


def fresh_nets(
    plan: NetworkPlan,
    training: TrainingSet,
    card: DataCard,
    protocol: Protocol,
    lr: float,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    lessons: Lessons | None = None,
) -> Iterator[tuple[Draw, int]]:
    """Trained ensembles that together hold all the repeats, each with the items it can be measured on at once."""
    network = plan.fitted(card).build(card)
    floats = activation_floats(Draw(network, *network.init(Streams(seed)["net/0"])), card.shape)
    batch = min(protocol.batch, len(training))
    together = max(1, min(protocol.repeats, ENSEMBLE_BYTES // (4 * floats * batch)))
    chunk = max(1, CHUNK_BYTES // (4 * floats * together))
    augment = protocol.augment.fitted(card) if protocol.augment else None
    own = replace(protocol, augment=augment)
    for part in cut(protocol.repeats, together):
        nets = range(part.start, part.stop)
        told = f"training {plan.part_name()}"
        yield train(network, training, card, own, lr, nets, seed, device, told, progress, lessons), chunk


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
    lessons: Lessons | None = None,
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
    lessons = lessons if protocol.temperature is not None else None
    temperature = protocol.temperature if lessons is not None and protocol.temperature else 1.0
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
        inputs, targets = _taken(training, rows, protocol, rng, nets, card, device, lessons, temperature)
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
    lessons: Lessons | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The batch of each net, under that net's augmentation: inputs (e, n, ...) and targets (e, n, ...)."""
    inputs, targets = training.take(torch.cat(list(rows)))
    inputs, targets = inputs.to(device), targets.to(device)
    each, theirs = inputs.unflatten(0, (len(nets), -1)), targets.unflatten(0, (len(nets), -1))
    if lessons is not None:
        heard = [lessons(r, x, protocol.augment, rng[f"augment/{i}"]) for i, r, x in zip(nets, rows, each, strict=True)]
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
