"""Labels of the synthetic set."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddcore.augment import Crop, cropped
from ddcore.errors import RecipeRefused
from ddcore.gate import Context, Fit, LossName
from ddcore.memory import cut, items_a_chunk
from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard, Draw, Params


class Labels(Part, kind="labels"):
    """What the targets of S are."""

    @property
    def wants_teacher(self) -> bool:
        """They are said by a network that the recipe trains on T anyway."""
        return False

    @property
    def teaches(self) -> bool:
        """They bring what a network can be taught by while it is trained."""
        return False

    @abstractmethod
    def build(self, card: DataCard, carrier: CarrierModule) -> LabelModule:
        """Labels for the items of ``carrier``."""


@dataclass(frozen=True)
class Hard(Labels):
    """Each item's own class, fixed."""

    def build(self, card: DataCard, carrier: CarrierModule) -> HardLabels:
        return HardLabels(carrier)


class HardLabels(LabelModule):
    targets: Tensor

    def __init__(self, carrier: CarrierModule) -> None:
        super().__init__()
        self.register_buffer("targets", carrier.classes.clone())
        self.stored = class_bytes(carrier)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.targets[index]

    def nbytes(self) -> int:
        return self.stored


def class_bytes(carrier: CarrierModule) -> int:
    """One byte a stored thing up to 256 classes, else two: what is made of one has its class."""
    return len(carrier.origin.unique()) * (1 if int(carrier.classes.max()) < 256 else torch.int16.itemsize)


@dataclass(frozen=True)
class Vectors(Labels):
    """A free real vector (k,) an item, which starts as ``scale`` times its class one-hot, less 1/k where ``centred``.

    ``loss`` says what networks are trained with on such targets y: ``cross_entropy`` is - sum_k y_k log softmax(f)_k,
    ``squared`` is sum_k (f_k - y_k)^2 / 2. Vectors that are not ``learned`` follow from the class and are stored as it.

    A ``temperature`` is the first value of a number that turns predictions of such targets into logits for T's classes.
    Its logarithm is learned beside the vectors, under a rate of its own; whoever trains on S needs it not.
    """

    scale: float = 1.0
    centred: bool = False
    learned: bool = True
    loss: LossName = "cross_entropy"
    temperature: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise RecipeRefused(f"labels.scale = {self.scale}: it must be above zero and finite.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise RecipeRefused(f"labels.temperature = {self.temperature}: it must be above zero and finite.")
        if self.centred and self.loss == "cross_entropy":
            raise RecipeRefused(
                "labels.centred = true makes targets that sum to zero, which no cross-entropy can meet: take"
                ' labels.loss = "squared", or targets that are not centred.'
            )

    def build(self, card: DataCard, carrier: CarrierModule) -> VectorLabels:
        return VectorLabels(self, card, carrier)


class VectorLabels(LabelModule):
    vectors: Tensor

    def __init__(self, plan: Vectors, card: DataCard, carrier: CarrierModule) -> None:
        super().__init__()
        self.plan = plan
        self.loss_name = plan.loss
        vectors = self.encoded(carrier.classes, card.classes)
        if plan.learned:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.stored = vectors.nbytes if plan.learned else class_bytes(carrier)
        start = plan.temperature
        self.log_temperature = None if start is None else nn.Parameter(torch.tensor(math.log(start)))

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.vectors[index]

    def encoded(self, classes: Tensor, k: int) -> Tensor:
        return self.plan.scale * (super().encoded(classes, k) - (1 / k if self.plan.centred else 0))

    @property
    def temperature(self) -> Tensor | None:
        return None if self.log_temperature is None else self.log_temperature.exp()

    def groups(self) -> dict[str, list[nn.Parameter]]:
        vectors = [self.vectors] if isinstance(self.vectors, nn.Parameter) else []
        temperature = [] if self.log_temperature is None else [self.log_temperature]
        return {"labels": vectors, "temperature": temperature}

    def nbytes(self) -> int:
        return self.stored


@dataclass(frozen=True)
class Soft(Labels):
    """Learned shares: the softmax of free logits (n, k).

    They start as a network says that was trained on T as ``fit`` says, or without one all alike.
    Reference: Guo et al., DATM, ICLR 2024, Section 3.3.
    """

    fit: Fit | None = Fit()

    def build(self, card: DataCard, carrier: CarrierModule) -> SoftLabels:
        return SoftLabels(self, card, len(carrier.classes))


class SoftLabels(LabelModule):
    def __init__(self, plan: Soft, card: DataCard, n: int) -> None:
        super().__init__()
        self.plan = plan
        self.logits = nn.Parameter(torch.zeros(n, card.classes))

    def start(self, ctx: Context, inputs: Tensor) -> None:
        if self.plan.fit is None:
            return
        draw = ctx.fresh()
        *_, params = ctx.gate.fit(draw, self.plan.fit, "training the teacher", ctx.progress)
        with torch.no_grad():
            self.logits.copy_(answers(draw, params, inputs, ctx.room))

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.logits[index].softmax(1)

    def nbytes(self) -> int:
        return self.logits.nbytes


@dataclass(frozen=True)
class Expert(Labels):
    """Shares that the trained network of each step gives to the images as they are then; the last ones are kept.

    The network is the one where the step's training led (``Draw.target``), at ``temperature``.
    Reference: Cui et al., TESLA, ICML 2023, Section 3.4.
    """

    temperature: float = 1.0

    def build(self, card: DataCard, carrier: CarrierModule) -> ExpertLabels:
        return ExpertLabels(self, card, len(carrier.classes))


class ExpertLabels(LabelModule):
    shares: Tensor

    def __init__(self, plan: Expert, card: DataCard, n: int) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("shares", torch.full((n, card.classes), 1 / card.classes))

    def follow(self, draw: Draw, inputs: Callable[[], Tensor]) -> None:
        params = draw.params if draw.target is None else draw.target
        with torch.no_grad():
            logits = answers(draw, params, inputs(), len(self.shares))
        self.shares = (logits / self.plan.temperature).softmax(1)

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.shares[index]

    def nbytes(self) -> int:
        return self.shares.nbytes


@dataclass(frozen=True)
class Taught(Labels):
    """Shares that a teacher, a network trained on T, gives to the images of S as they are in the end.

    ``targets`` are the teacher's softmax at ``temperature``, one row an item. Beside them the artefact may hold what
    a network is taught by while it is trained on augmented images (``Protocol.temperature``): of each item ``views``
    boxes drawn from ``crop``, with the teacher's logits of what each shows; or, with ``keep``, the teacher itself.
    All of it counts among the bytes.

    The teacher is trained as ``fit`` says when S begins; with None it is the network of the steps, or the one by which
    images were chosen.

    Reference: Shen and Xing, FKD, ECCV 2022, for views; Yin, Xing and Shen, SRe2L, NeurIPS 2023, Section 3.2 (relabel).
    """

    fit: Fit | None = Fit()
    temperature: float = 1.0
    views: int = 0
    crop: Crop = Crop()
    keep: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise RecipeRefused(f"labels.temperature = {self.temperature}: it must be above zero and finite.")
        if self.views < 0:
            raise RecipeRefused(f"labels.views = {self.views}: it cannot be negative.")

    @property
    def wants_teacher(self) -> bool:
        return self.fit is None

    @property
    def teaches(self) -> bool:
        return self.keep or self.views > 0

    def build(self, card: DataCard, carrier: CarrierModule) -> TaughtLabels:
        return TaughtLabels(self, card, carrier)


class Held(dict[str, Params]):
    """A network's ``params`` and ``buffers``, once they are known; a copy of a module that holds it holds the same."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        return self


class TaughtLabels(LabelModule):
    shares: Tensor

    def __init__(self, plan: Taught, card: DataCard, carrier: CarrierModule) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("shares", torch.eye(card.classes)[carrier.classes])
        self.teacher = Held()
        self._views: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, Params]:
        return dict(self.teacher)

    def set_extra_state(self, state: dict[str, Params]) -> None:
        self.teacher.update(state)

    def start(self, ctx: Context, inputs: Tensor) -> None:
        if self.plan.fit is not None:
            begun = ctx.fresh()
            *_, params = ctx.gate.fit(begun, self.plan.fit, "training the teacher", ctx.progress)
            self.teacher.update(params=params, buffers=begun.buffers)
            self._label(ctx, inputs)

    def follow(self, draw: Draw, inputs: Callable[[], Tensor]) -> None:
        if self.plan.fit is None:
            self.teacher.update(params=draw.params, buffers=draw.buffers)

    def finish(self, ctx: Context, inputs: Callable[[], Tensor]) -> None:
        if not self.teacher:
            raise RecipeRefused("The run was ended before its teacher was there, so nobody can label S: let it go on.")
        self._label(ctx, inputs())

    def _label(self, ctx: Context, inputs: Tensor) -> None:
        tensors = {kind: {name: v.to(ctx.device) for name, v in held.items()} for kind, held in self.teacher.items()}
        teacher = Draw(ctx.network, tensors["params"], tensors["buffers"])
        room = items_a_chunk(teacher, ctx.card.shape)

        def logits(boxes: Tensor | None = None) -> Tensor:
            parts = cut(len(inputs), room)
            seen = (inputs[p] if boxes is None else cropped(boxes[p])(inputs[p]) for p in parts)
            with torch.no_grad():
                return torch.cat([teacher(x, training=False) for x in seen])

        self.shares = (logits() / self.plan.temperature).softmax(1)
        boxes = self.plan.crop.boxes(Streams(ctx.rng.seed)["views"], len(inputs) * self.plan.views)
        boxes, said = boxes.unflatten(0, (len(inputs), -1)), []
        for number in range(self.plan.views):
            said.append(logits(boxes[:, number]))
            if ctx.progress:
                ctx.progress("labelling views", number + 1, self.plan.views)
        self._views = {"boxes": boxes, "logits": torch.stack(said, 1)} if said else {}

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.shares[index]

    def nbytes(self) -> int:
        return self.shares.nbytes + sum(tensor.nbytes for tensor in self.teaching().values())

    def teaching(self) -> dict[str, Tensor]:
        network = {f"{kind}.{name}": value for kind, held in self.teacher.items() for name, value in held.items()}
        found = {**self._views, **(network if self.plan.keep else {})}
        return {name: value.detach().cpu().clone() for name, value in found.items()}


def answers(draw: Draw, params: Params, inputs: Tensor, chunk: int) -> Tensor:
    """The network's logits (n, k) at ``params``, ``chunk`` items at a time; with batch statistics where it has them."""
    training = not draw.network.per_sample
    return torch.cat([draw(inputs[part], params, training=training) for part in cut(len(inputs), chunk)])
