"""What a teacher says of crops of images, in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore.levels import Bits, Levels

PACKED = "packed."
"""How the names of the tensors of packed crops begin."""
FORM, BOXES, SAID, CLASSES = (f"{PACKED}{name}" for name in ("form", "boxes", "said", "classes"))


@dataclass(frozen=True)
class PackedCrops:
    """Boxes of n items, and what a teacher says of each: of the likeliest classes, in few bits per number.

    Logits count from that of all classes left out, which is 0: theirs is even.
    """

    boxes: Levels
    """As :meth:`ddcore.augment.crop.Crop.boxes` draws them, (n, v, 4), with a range for each of the four."""
    said: Levels
    """Logits (n, v, t) of the classes that are kept."""
    classes: Tensor
    """Which classes are kept, int64, (n, v, t); where t is the number of classes, all in their order."""

    @classmethod
    def of(cls, boxes: Levels, logits: Tensor, top: int | None, temperature: float) -> PackedCrops:
        """Keep of the finite ``logits`` (n, v, k) the ``top`` largest of each row, None for all.

        The share of the others, at ``temperature``, is spread evenly over them.
        """
        k = logits.shape[2]
        if top is None or top >= k:
            kept, classes = logits - logits.mean(2, keepdim=True), torch.arange(k).expand(logits.shape)
        else:
            ordered, classes = logits.cpu().sort(dim=2, descending=True, stable=True)
            rest = temperature * (ordered[..., top:] / temperature).exp().mean(2, keepdim=True).log()
            kept, classes = ordered[..., :top] - rest, classes[..., :top]
        return cls(boxes, Levels.of(kept.cpu(), boxes.bits), classes)

    def logits(self, k: int) -> Tensor:
        """Logits of all ``k`` classes, float32, (n, v, k)."""
        rows = torch.zeros(*self.classes.shape[:2], k)
        return rows.scatter(2, self.classes, self.said.values())

    def tensors(self, k: int) -> dict[str, Tensor]:
        """As stored, by name: three numbers that tell the form, levels, and ranges as float64."""
        bits, (_, v, t) = self.boxes.bits, self.classes.shape
        found = {FORM: torch.tensor([bits, v, t]), BOXES: self.boxes.packed(), SAID: self.said.packed()}
        for name, levels in ((BOXES, self.boxes), (SAID, self.said)):
            found[f"{name}.range"] = torch.stack([levels.low.flatten(), levels.high.flatten()]).double()
        if t < k:
            found[CLASSES] = _numbers(self.classes, k).packed()
        return found

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], n: int, k: int) -> PackedCrops | None:
        """What :meth:`tensors` gave of ``n`` items of ``k`` classes, among other ``tensors``; None where none is there.

        Raises:
            ValueError: it cannot be that.
        """
        tensors = {name: value for name, value in tensors.items() if name.startswith(PACKED)}
        if not tensors:
            return None
        form = tensors.get(FORM)
        if form is None or form.dtype != torch.int64 or tuple(form.shape) != (3,):
            raise ValueError(f"{FORM} is not three whole numbers")
        bits, v, t = form.tolist()
        if bits not in (4, 8, 16) or v < 1 or not 1 <= t <= k:
            raise ValueError(f"{v} crops with {t} of {k} classes in {bits} bits")
        names = {FORM, BOXES, f"{BOXES}.range", SAID, f"{SAID}.range", *([CLASSES] if t < k else [])}
        if tensors.keys() != names:
            raise ValueError(f"{', '.join(sorted(tensors))}, where {', '.join(sorted(names))} belong together")
        boxes = Levels.unpacked(tensors[BOXES], (n, v, 4), *_range(tensors[f"{BOXES}.range"], 4), bits)
        said = Levels.unpacked(tensors[SAID], (n, v, t), *_range(tensors[f"{SAID}.range"], 1), bits)
        classes = torch.arange(k).expand(n, v, k)
        if t < k:
            zero = torch.zeros(())
            classes = Levels.unpacked(tensors[CLASSES], (n, v, t), zero, zero, _bits_of(k)).levels
            ordered = classes.sort(2).values
            if int(classes.max()) >= k or bool((ordered[..., 1:] == ordered[..., :-1]).any()):
                raise ValueError(f"{CLASSES} names no {t} of {k} classes")
        return cls(boxes, said, classes)


def coarse_boxes(boxes: Tensor, bits: Bits) -> Levels:
    """``boxes`` (n, v, 4) in ``bits`` per number, with a range for each of the four."""
    return Levels.of(boxes, bits, axis=2)


def _bits_of(k: int) -> Bits:
    """Bits of the number of one of ``k`` classes."""
    return 4 if k <= 16 else 8 if k <= 256 else 16


def _numbers(classes: Tensor, k: int) -> Levels:
    zero = torch.zeros(())
    return Levels(classes, zero, zero, _bits_of(k))


def _range(stored: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest numbers, (1, 1, size). Raises ValueError where ``stored`` cannot be these."""
    if stored.dtype != torch.float64 or tuple(stored.shape) != (2, size) or not bool((stored[0] <= stored[1]).all()):
        raise ValueError("a range is no least and greatest number")
    low, high = stored.float()[:, None, None]
    return low, high
