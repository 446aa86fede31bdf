"""Meta knowledge: items of T that count by their loss, and sets that begin where others ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ddcore import plugin as dd
from ddcore_federated.shared import Shared


@dataclass(frozen=True)
class ByLoss(dd.Objective):
    """``objective``, for which an item of T counts 2 sigmoid( -``tau`` l ) times, l its loss at the network at hand:
    the less, the worse that network knows it.

    It enters the gradients that the gate gives, item by item, before any clipping.

    **Reference**: Liu et al., ICLR 2023, dynamic weight assignment.

    **Differs**: the form of the weight is ours.
    """

    objective: dd.Objective
    """The objective whose items are weighted; it must ask gradients of T."""
    tau: dd.NotNegative = 1.0
    """How fast the weight falls with the loss; 0 weights all items equally."""

    def faults(self) -> Iterator[str]:
        if "gradient" not in self.objective.asks:
            yield f"objective = {self.objective} asks no gradient of T, so there are no losses to weigh by"

    def accumulate(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> Iterator[float]:
        return self.objective.accumulate(draw, synthetic, replace(ctx, gate=Weighing(ctx.gate, self.tau)))


class Weighing(dd.WrappedGate):
    """``gate``, whose gradients are of losses that weigh themselves."""

    def __init__(self, gate: dd.Gate, tau: float) -> None:
        super().__init__(gate)
        self.tau = tau

    def gradient(self, draw, groups, loss):
        return self.gate.gradient(draw, groups, weighed(loss, self.tau))


def weighed(loss: dd.ItemLoss, tau: float) -> dd.ItemLoss:
    """``loss`` times 2 sigmoid( -tau loss ), which is taken as a constant."""

    def by_itself(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        return 2 * torch.sigmoid(-tau * value.detach()) * value

    return by_itself


@dataclass(frozen=True)
class Remembered(dd.Carrier):
    """``ipc`` images per class, each pixel learned, that start at images made before.

    **Reference**: Liu et al., ICLR 2023, conditional initialisation.
    """

    path: dd.FilePath | None = None
    """Safetensors file with ``inputs`` (n, ...), preprocessed, and ``classes`` (n,), of which each class takes ``ipc``
    at random; :func:`remember` writes one. None to start as ``init`` says."""
    init: Literal["noise", "real"] = "noise"
    """How images start that the file has too few of: ``noise`` draws a standard normal and asks nothing of T, ``real``
    takes random real images."""

    @property
    def asks(self) -> frozenset[str]:
        return self._pixels().asks

    def _pixels(self) -> dd.Pixels:
        return dd.Pixels(self.ipc, self.init)

    def build(self, card: dd.DataCard) -> RememberedModule:
        return RememberedModule(self, self._pixels().build(card))


class RememberedModule(dd.CarrierModule):
    def __init__(self, plan: Remembered, images: dd.CarrierModule) -> None:
        super().__init__()
        self.plan, self.images, self.classes = plan, images, images.classes

    def start(self, ctx: dd.Context) -> None:
        self.images.start(ctx)
        if self.plan.path is None:
            return
        inputs, classes = _read(self.plan.path, ctx.card)
        (pixels,) = self.images.parameters()
        with torch.no_grad():
            for c in range(ctx.card.classes):
                made = (classes == c).nonzero().flatten()
                taken = made[torch.randperm(len(made), generator=ctx.rng["init"])][: self.plan.ipc]
                mine = (self.classes == c).nonzero().flatten()[: len(taken)]
                pixels[mine] = inputs[taken].to(pixels)

    def forward(self, index: Tensor) -> Tensor:
        return self.images(index)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return self.images.groups()

    def project(self, into: Callable[[Tensor], Tensor]) -> None:
        self.images.project(into)

    def nbytes(self) -> int:
        return self.images.nbytes()


def remember(path: str | Path, shared: Shared, classes: Sequence[int]) -> None:
    """Write what :class:`Remembered` reads: the items of ``shared`` for a shard that has ``classes`` of the problem."""
    whole = shared.targets if shared.targets.ndim == 1 else shared.targets.argmax(1)
    own = torch.tensor(list(classes))
    kept = torch.isin(whole, own)
    local = (whole[kept][:, None] == own).int().argmax(1)
    dd.write_tensors(path, {"inputs": shared.inputs[kept], "classes": local})


def _read(path: str, card: dd.DataCard) -> tuple[Tensor, Tensor]:
    remedy = "synthetic.path names a safetensors file with inputs and classes."
    tensors, _ = dd.read_tensors(path, dd.RecipeRefused, remedy, ("inputs", "classes"))
    inputs, classes = tensors["inputs"], tensors["classes"]
    if tuple(inputs.shape[1:]) != card.shape or classes.shape != inputs.shape[:1] or not inputs.isfinite().all():
        raise dd.RecipeRefused(
            f"synthetic.path = {path!r} holds inputs {tuple(inputs.shape)} and classes {tuple(classes.shape)}: wanted"
            f" are finite ones of {card.shape}, and a class for each."
        )
    return inputs, classes
