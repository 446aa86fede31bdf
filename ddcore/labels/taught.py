"""Shares that a teacher gives to the finished images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddcore.augment.crop import Crop
from ddcore.augment.transforms import cropped
from ddcore.bounds import Count, Positive, Whole
from ddcore.chunking import chunk_size, slices
from ddcore.context import Context
from ddcore.crops import PackedCrops, coarse_boxes
from ddcore.device import all_sent
from ddcore.errors import RecipeRefused
from ddcore.gate.fit import Fit
from ddcore.labels.base import Labels
from ddcore.levels import Bits
from ddcore.parts import Part
from ddcore.rng import Streams
from ddcore.synthetic import CarrierModule, LabelModule
from ddcore.types import DataCard, Draw, Params


@dataclass(frozen=True)
class Taught(Labels):
    """Shares that a teacher, a network trained on T, gives to the images of S as they are in the end.

    Targets are the teacher's softmax, one row per item. The artefact may also hold what networks are taught by while
    they are trained on augmented images (``Protocol.temperature``): logits of stored crops, or the teacher itself. All
    of it counts among the bytes.

    Crops are drawn anew from those stored as often as a network is trained, so few of them are used again and again,
    and each item has as many: pruning labels at random and evenly over the classes is a lower ``crops``. On the digits,
    ``rded`` with ten images per class, three networks under ``fkd``, one seed, crops of at least half of an image: 40
    crops in float32, 224 kB beside the images, have 95.7 ± 0.6. In a tenth of that, 4 such crops have 96.5 ± 0.9, 32 in
    4 bits 96.3 ± 0.7, and 45 in 4 bits with the three likeliest of ten classes 94.9 ± 1.4. In a fortieth, one crop has
    89.6 ± 1.4, 8 in 4 bits 94.5 ± 2.1, and 11 with three classes 94.4 ± 0.6.

    **References**: Shen and Xing, FKD, ECCV 2022, for crops; Yin, Xing and Shen, SRe2L, NeurIPS 2023, Section 3.2
    (relabel); Xiao and He, LPLD, NeurIPS 2024, for few of them; Xiao and He, LPQLD, TPAMI 2026, for ``top``.

    **Differs**: LPLD prunes whole epochs or batches of labels, and its images are made class by class; LPQLD's
    schedules of the temperatures of student and teacher are left out.
    """

    classes_only = True

    fit: Fit | None = Fit()
    """How the teacher is trained when S begins; None for the network of the steps, or the one that images were chosen
    by."""
    temperature: Positive = 1.0
    """Temperature of the teacher's softmax in the targets."""
    crops: Whole = 0
    """Crops per item that are stored with the teacher's logits of them. Published: 300."""
    crop: Crop = Crop()
    """How those crops are drawn."""
    bits: Bits | None = None
    """Bits per number of the crops and of what is said of them, with one range for each side and place of a crop, and
    one for all logits; None for the set's own (``synthetic.bits``, or float32). The teacher sees crops as stored."""
    top: Count | None = None
    """Likeliest classes of a crop whose logits are stored, with their numbers; the others share evenly what they have
    together at ``temperature``. None for all. Published for 1 000 classes: 100 and fewer."""
    keep: bool = False
    """Whether the artefact holds the teacher itself."""

    def faults(self) -> Iterator[str]:
        if self.bits is not None and not self.crops:
            yield f"bits = {self.bits} are those of stored crops: give crops with them"
        if self.top is not None and self.bits is None:
            yield f"top = {self.top} classes are stored in few bits: give bits with it"

    def parts(self) -> Iterator[tuple[str, Part]]:
        return ((name, part) for name, part in super().parts() if name != "crop" or self.crops)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"teacher"} if self.fit is None else ())

    @property
    def teaches(self) -> bool:
        return self.keep or self.crops > 0

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
            raise RecipeRefused("The run was ended before its teacher was there, so nothing can label S: resume it.")
        self._label(ctx, inputs())

    def _label(self, ctx: Context, inputs: Tensor) -> None:
        tensors = {kind: all_sent(held, ctx.device) for kind, held in self.teacher.items()}
        teacher = Draw(ctx.network, tensors["params"], tensors["buffers"])
        room = chunk_size(teacher, ctx.card.shape)

        def logits(boxes: Tensor | None = None) -> Tensor:
            parts = slices(len(inputs), room)
            seen = (inputs[p] if boxes is None else cropped(boxes[p])(inputs[p]) for p in parts)
            with torch.no_grad():
                return torch.cat([teacher(x, training=False) for x in seen])

        self.shares = (logits() / self.plan.temperature).softmax(1)
        boxes = self.plan.crop.boxes(Streams(ctx.rng.seed)["views"], len(inputs) * self.plan.crops)
        boxes, said = boxes.unflatten(0, (len(inputs), -1)), []
        levels = coarse_boxes(boxes, self.plan.bits) if self.plan.bits else None
        boxes = levels.values() if levels else boxes
        for number in range(self.plan.crops):
            said.append(logits(boxes[:, number]))
            if ctx.progress:
                ctx.progress("labelling crops", number + 1, self.plan.crops)
        if levels:
            packed = PackedCrops.of(levels, torch.stack(said, 1), self.plan.top, self.plan.temperature)
            self._views = packed.tensors(ctx.card.classes)
        else:
            self._views = {"boxes": boxes, "logits": torch.stack(said, 1)} if said else {}

    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        return self.shares[index]

    def nbytes(self) -> int:
        return self.shares.nbytes + sum(tensor.nbytes for tensor in self.teaching().values())

    def teaching(self) -> dict[str, Tensor]:
        network = {f"{kind}.{name}": value for kind, held in self.teacher.items() for name, value in held.items()}
        found = {**self._views, **(network if self.plan.keep else {})}
        return {name: value.detach().cpu().clone() for name, value in found.items()}
