"""The synthetic set S: a carrier for its inputs, labels for its targets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from ddcore.context import Context
from ddcore.device import sent
from ddcore.errors import RecipeRefused
from ddcore.levels import Bits, coarse
from ddcore.losses import LOSSES, LossName
from ddcore.types import Draw, ItemLoss, Transform


class CarrierModule(nn.Module, ABC):
    """Holds what S's inputs are made of. ``classes`` (n,) is the class of each item."""

    classes: Tensor
    versions: int = 1
    """Items that are made of each stored thing; they are adjacent."""
    judge: Draw | None = None
    """The trained network by which the items were chosen, known once they are; None where there is none."""

    values: Tensor | None
    """The values (n, v) of the items that it began with, where T's targets are values."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", None)

    @abstractmethod
    def forward(self, index: Tensor) -> Tensor:
        """The inputs (n, ...) at ``index`` (n,), as networks take them."""

    @abstractmethod
    def start(self, ctx: Context) -> None:
        """Fill in the first values, through the gate; never called on load or resume."""

    def follow(self, draw: Draw, rng: Generator) -> None:
        """Told of each step's network before the objective, with draws of its own; nothing by default."""

    @property
    def origin(self) -> Tensor:
        """Which stored thing each item (n,) is made of."""
        return torch.arange(len(self.classes), device=self.classes.device) // self.versions

    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that must be stored to make the inputs again."""

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is learned, by the name under which a recipe gives it a learning rate."""
        return {"inputs": list(self.parameters())}

    def project(self, into: Transform) -> None:
        """Bring what is stored as images back into their range by ``into``; nothing where no images are stored."""

    @contextmanager
    def in_bits(self, bits: Bits | None) -> Iterator[None]:
        """While within, what is stored has the values that come back of ``bits`` per number; None for float32."""
        held = self.state_dict().values() if bits else ()
        numbers = [value for value in held if value.dtype == torch.float32]
        own = [value.clone() for value in numbers]
        for value in numbers:
            value.copy_(coarse(value, bits))
        try:
            yield
        finally:
            for value, was in zip(numbers, own, strict=True):
                value.copy_(was)

    def latent(self) -> dict[str, Tensor]:
        """What an artefact holds besides the decoded inputs; nothing by default."""
        return {}

    def restore(self, latent: dict[str, Tensor]) -> None:
        """Take what :meth:`latent` gave, by the names of parameters.

        Raises:
            RecipeRefused: these are not all that the inputs are made of.
        """
        own = dict(self.named_parameters())
        if {name: p.shape for name, p in own.items()} != {name: value.shape for name, value in latent.items()}:
            raise RecipeRefused(
                f"What {type(self).__name__} decodes is not known from {', '.join(latent)} alone, so its inputs cannot"
                " be made of coarser ones: distil it with synthetic.bits."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(latent[name])


class LabelModule(nn.Module, ABC):
    """Holds what S's targets are made of."""

    loss_name: LossName = "cross_entropy"
    """Which loss goes with these targets."""

    def begin(self, values: Tensor) -> None:
        """Take the ``values`` (n, v) of the items that S began with for the first targets, before :meth:`start`."""
        raise RecipeRefused(
            f"{type(self).__name__} holds classes, and the targets of T are values: take labels hard or vectors."
        )

    def start(self, ctx: Context, inputs: Tensor) -> None:
        """Fill in the first values for ``inputs`` (n, ...), through the gate; never called on load or resume."""

    def follow(self, draw: Draw, inputs: Callable[[], Tensor]) -> None:
        """Called with each step's network before the objective, and with the one by which a carrier chose.

        ``inputs`` decodes all inputs (n, ...) as they are then.
        """

    def finish(self, ctx: Context, inputs: Callable[[], Tensor]) -> None:
        """Give the targets their last values, whenever S is handed out; ``inputs`` as for :meth:`follow`."""

    @abstractmethod
    def forward(self, index: Tensor, inputs: Tensor) -> Tensor:
        """The targets of the items at ``index`` (n,), whose augmented inputs are ``inputs``."""

    @property
    def loss(self) -> ItemLoss:
        """The loss that goes with these targets, one value per item."""
        return LOSSES[self.loss_name]

    @property
    def temperature(self) -> Tensor | None:
        """The factor () that turns a prediction of these targets into logits, where the labels have one."""
        return None

    def encoded(self, classes: Tensor, k: int) -> Tensor:
        """Classes (n,) as vectors (n, k) like these targets, one-hot where nothing else is said; values as they are."""
        if classes.ndim == 2:
            return classes
        return (classes[:, None] == torch.arange(k, device=classes.device)).float()

    @abstractmethod
    def nbytes(self) -> int: ...

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is learned, by the name under which a recipe gives it a learning rate."""
        return {"labels": list(self.parameters())}

    def teaching(self) -> dict[str, Tensor]:
        """What an artefact holds besides the targets, for networks to be taught by; nothing by default."""
        return {}


class SyntheticSet(nn.Module):
    """S at work: what an objective differentiates with respect to."""

    def __init__(
        self, carrier: CarrierModule, labels: LabelModule, step_size: float | None = None, step_sizes: int = 1
    ) -> None:
        """``step_size``: first value of each of the learned ``step_sizes``."""
        super().__init__()
        self.carrier = carrier
        self.labels = labels
        self.log_step_size = None
        self._rows: tuple[Tensor, int, list[Tensor]] | None = None
        if step_size is not None:
            shape = () if step_sizes == 1 else (step_sizes,)
            self.log_step_size = nn.Parameter(torch.full(shape, math.log(step_size)))

    @property
    def step_size(self) -> Tensor | None:
        """The learning rate that S is to be trained with, () for all steps or one per step (t,), where it has one.

        Its logarithm is learned.
        """
        return None if self.log_step_size is None else self.log_step_size.exp()

    def start(self, ctx: Context) -> None:
        """Fill in the first values, once, in the first moment of a run."""
        self.carrier.start(ctx)
        if self.carrier.values is not None:
            self.labels.begin(self.carrier.values)
        self.labels.start(ctx, self._decoded())
        if self.carrier.judge is not None:
            self.follow(self.carrier.judge)

    def finish(self, ctx: Context) -> None:
        """Give the targets their last values, whenever S is handed out."""
        self.labels.finish(ctx, self._decoded)

    def follow(self, draw: Draw) -> None:
        """Pass the step's network to the labels."""
        self.labels.follow(draw, self._decoded)

    def _decoded(self) -> Tensor:
        with torch.no_grad():
            return self.carrier(torch.arange(len(self), device=self.carrier.classes.device))

    def __len__(self) -> int:
        return len(self.carrier.classes)

    def pick(self, classes: Sequence[int]) -> Tensor:
        """The items (n,) of the given classes, in order."""
        rows = self._by_class()
        found = [rows[c] for c in set(classes) if c < len(rows)]
        return torch.cat(found).sort().values if len(found) != 1 else found[0]

    def count(self, c: int) -> int:
        """Items of class ``c``."""
        rows = self._by_class()
        return len(rows[c]) if c < len(rows) else 0

    def _by_class(self) -> list[Tensor]:
        """The items (n,) of each class, found anew only where these have changed: a GPU is not waited for."""
        classes = self.carrier.classes
        if self._rows is None or self._rows[0] is not classes or self._rows[1] != classes._version:
            here = classes.cpu()
            rows = [sent((here == c).nonzero().flatten(), classes.device) for c in range(int(here.max()) + 1)]
            self._rows = classes, classes._version, rows
        return self._rows[2]

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the items at ``index`` (n,)."""
        inputs = self.carrier(index)
        return inputs, self.labels(index, inputs)

    def everything(self) -> tuple[Tensor, Tensor]:
        return self.take(torch.arange(len(self), device=self.carrier.classes.device))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is learned, by the name under which a recipe gives it a learning rate."""
        found = {**self.carrier.groups(), **self.labels.groups()}
        if self.log_step_size is not None:
            found["step_size"] = [self.log_step_size]
        return {name: parameters for name, parameters in found.items() if parameters}

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is learned and can be used no more: the name of its group, and what is wrong, as a sentence begins."""
        found = [
            (name, f"What is learned is no longer finite in its {name}", parameter.isfinite().all())
            for name, group in self.groups().items()
            for parameter in group
        ]
        if self.step_size is not None:
            found.append(("step_size", "The step size that is learned has shrunk to zero", (self.step_size > 0).all()))
        sound = torch.stack([held for _, _, held in found]).tolist()
        return ((name, fault) for (name, fault, _), held in zip(found, sound, strict=True) if not held)

    def nbytes(self) -> int:
        step_size = 0 if self.log_step_size is None else self.log_step_size.nbytes
        return self.carrier.nbytes() + self.labels.nbytes() + step_size
