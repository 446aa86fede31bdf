"""The nouns that every floor shares.

Shape letters in docstrings: n items, k classes, c h w an image, p parameters, t steps, e nets of an
ensemble; T is the real set, S the synthetic one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Generator, Tensor

Params = dict[str, Tensor]
"""Named tensors of a network: its parameters or its buffers."""

Transform = Callable[[Tensor], Tensor]
"""A drawn augmentation: inputs (n, ...) to inputs (n, ...), the same change each time it is called."""

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A drawn mixing of items: inputs (n, ...) and classes (n,) to inputs (n, ...) and shares of the classes (n, k)."""

ItemLoss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n, k) and targets (n, ...) to one loss per item (n,)."""

Progress = Callable[[str, int, int], None]
"""Called during long work: what is going on, how many steps of it are done, and how many there are."""

AXES: Mapping[str, int] = MappingProxyType({"image": 3, "vector": 1, "signal": 2, "video": 4})
"""Axes of one item of the core's kinds."""
EDGE = 1e-5
"""What a mean of float32 may be off."""


@dataclass(frozen=True)
class Column:
    """A column of a table, as the numbers of an item that stand for it."""

    name: str
    categories: tuple[str, ...] = ()
    """What its values are called: each has a number of its own, 1 where it holds and 0 elsewhere. Empty for a column of
    numbers, which is one number."""
    fill: float | None = None
    """What stands for a missing number; None where none may be missing."""
    shift: float = 0.0
    scale: float = 1.0
    """The number x stands for ``shift + scale * x``."""

    @property
    def width(self) -> int:
        """How many numbers of an item stand for it."""
        return len(self.categories) or 1

    @property
    def summarises(self) -> bool:
        """It holds numbers that were computed from the items: their median, mean or deviation."""
        return self.fill is not None or (self.shift, self.scale) != (0.0, 1.0)


@dataclass(frozen=True)
class DataCard:
    """Shapes and counts of a data set, never its items. Labels and counts are public knowledge."""

    name: str
    shape: tuple[int, ...]
    """One item's shape: (c, h, w) for images, (d,) for vectors, (c, t) for signals, (c, t, h, w) for videos."""
    classes: int
    counts: tuple[int, ...]
    """Items of T in each class."""
    flips: bool = True
    """A mirrored image keeps its label (false for digits)."""
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    """Channel means declared public, of inputs in [0, 1]; None where nothing was declared."""
    std: tuple[float, ...] | None = None
    kind: str = "image"
    """What an item is: ``image``, ``vector``, ``signal``, ``video``, or a kind that a plugin brings."""
    apart: bool = True
    """An item stands by itself; false where items know each other, as the nodes of one graph do."""
    values: int | None = None
    """How many values a target has, where targets are numbers to predict and not classes; ``classes`` is 1 then."""
    unit_range: bool = False
    """Raw inputs lie in [0, 1], as those that come as uint8 do; false where nothing bounds them."""
    columns: tuple[Column, ...] = ()
    """The columns that the numbers of a vector stand for, in their order; empty where nothing says."""
    target: Column | None = None
    """The column to predict; None where nothing says."""

    @property
    def outputs(self) -> int:
        """Outputs of a network: one per class, or one per value."""
        return self.classes if self.values is None else self.values

    def called(self, c: int) -> str:
        """What people call class ``c``: its name, or its number."""
        return self.class_names[c] if self.class_names else str(c)

    def faults(self) -> Iterator[str]:
        """What of it cannot be, or does not fit together, in sentences."""
        shape, classes, names = self.shape, self.classes, self.class_names
        if not shape or min(shape) < 1 or len(shape) != AXES.get(self.kind, len(shape)):
            yield f"its items are {self.kind}s of the shape {shape}"
        if classes < 1 or (self.values is not None and (self.values < 1 or classes > 1)):
            yield f"it has {classes} classes" + ("" if self.values is None else f" and {self.values} values per item")
        if len(self.counts) not in (0, classes) or min(self.counts, default=0) < 0:
            yield f"its counts of items are not one whole number for each of {classes} classes"
        if len(names) not in (0, classes) or not all(isinstance(name, str) for name in names):
            yield f"its class names are not one text for each of {classes} classes"
        if (self.mean is None) != (self.std is None):
            yield "it has a mean and no std, or a std and no mean"
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if numbers is not None and not (len(numbers) == shape[0] and all(map(math.isfinite, numbers))):
                yield f"its {name} is {numbers}, not one finite number for each of {shape[0]} channels"
        if self.std is not None and min(self.std) <= 0:
            yield f"its std is {self.std}, not above zero"
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and (fault := self.beyond(numbers)):
                yield f"its {name} is {numbers}: {fault}"
        if self.columns and (self.kind != "vector" or sum(column.width for column in self.columns) != shape[0]):
            yield f"its columns take {sum(column.width for column in self.columns)} numbers, and an item has {shape}"
        every = [column.name for column in (*self.columns, *([self.target] if self.target else []))]
        if len(set(every)) < len(every):
            yield "two of its columns have one name"

    def beyond(self, numbers: Sequence[float]) -> str | None:
        """Why these are no means or standard deviations of raw inputs, whose range is known; None where they may be."""
        if self.unit_range and not all(-EDGE <= number <= 1 + EDGE for number in numbers):
            return "raw items lie in [0, 1], so divide it by the value that white had, such as 255"
        return None


@dataclass(frozen=True)
class Batch:
    """Items with their targets; ``inputs`` are a tensor, or :class:`~ddcore.store.Items` of a kind of its own."""

    inputs: Tensor
    targets: Tensor
    index: Tensor
    """Each item's place (n,) in its source, in the order in which T was handed over."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        return Batch(self.inputs[rows], self.targets[rows], self.index[rows])


@dataclass(frozen=True)
class Group:
    """A part of T that a request names; the groups of one request are disjoint."""

    classes: tuple[int, ...] | None = None
    """The classes it may hold, None for all."""
    size: int | None = None
    """Items drawn without replacement, at most what the classes have; None for all of them."""
    transform: Transform | None = None
    """An augmentation already drawn, so that S can get the same."""
    mixing: Mixing | None = None
    """A mixing of the group's items, after the augmentation; a gate that clips items refuses it."""
    among: Tensor | None = None
    """A mask (n,) over all of T, as the gate holds it, of the items that it may hold; None for all. A gate sets it in a
    fit under a curriculum; no other part knows their order."""

    def seen(self, inputs: Tensor) -> Tensor:
        """``inputs`` (n, ...) under the group's augmentation."""
        return inputs if self.transform is None else self.transform(inputs)


@dataclass(frozen=True)
class Call:
    """How a network is called: at which parameters, and for what."""

    params: Params
    buffers: Params
    features: bool = False
    """The flat input of the last layer (n, d) is wanted, not the logits."""
    training: bool = True
    """Batch statistics are used, and the buffers updated in place."""
    ensemble: int | None = None
    """Every tensor of ``params`` and ``buffers``, the inputs and the answer have a leading axis of so many nets."""
    generators: tuple[Generator, ...] | None = None
    """Where a stochastic network draws from, one for each net; None for the global generator."""


class Network(ABC):
    """A network as a pure function of its parameters and buffers."""

    @property
    @abstractmethod
    def per_sample(self) -> bool:
        """An item's output does not depend on the other items of its batch."""

    @property
    def gives(self) -> frozenset[str]:
        """What of it can be seen, for parts that need it: ``blocks``, ``filters``, ``batch_norm``."""
        return frozenset()

    @property
    def stochastic(self) -> bool:
        """It draws random numbers as it is trained, as dropout does; not by default."""
        return False

    @property
    def unwrapped(self) -> Network:
        """The network itself, where others wrap it."""
        return self

    @abstractmethod
    def init(self, generator: Generator) -> tuple[Params, Params]:
        """Fresh parameters and buffers, drawn from ``generator`` alone."""

    @abstractmethod
    def apply(self, call: Call, x: Tensor) -> Tensor:
        """Logits (n, k) of ``x`` (n, ...), or what else ``call`` asks for."""

    def __call__(
        self,
        params: Params,
        buffers: Params,
        x: Tensor,
        *,
        features: bool = False,
        training: bool = True,
        ensemble: int | None = None,
    ) -> Tensor:
        return self.apply(Call(params, buffers, features, training, ensemble), x)


@dataclass(frozen=True)
class WrappedNetwork(Network):
    """Another network with one thing changed: all else is ``network``'s."""

    network: Network

    @property
    def per_sample(self) -> bool:
        return self.network.per_sample

    @property
    def gives(self) -> frozenset[str]:
        return self.network.gives

    @property
    def stochastic(self) -> bool:
        return self.network.stochastic

    @property
    def unwrapped(self) -> Network:
        return self.network.unwrapped

    def init(self, generator: Generator) -> tuple[Params, Params]:
        return self.network.init(generator)

    def apply(self, call: Call, x: Tensor) -> Tensor:
        return self.network.apply(call, x)


@dataclass(frozen=True)
class Draw:
    """A network at a point of its parameter space, as a policy hands it out."""

    network: Network
    params: Params
    buffers: Params
    target: Params | None = None
    """Where this network's training led (trajectory methods)."""
    age: int = 0
    """Training steps since it was initialised."""
    ensemble: int | None = None
    rival: Params | None = None
    """Another point of the same network, where a second player plays against S."""
    before: Transform | None = None
    """What inputs go through first: for views, which hand over raw ones, the run's preprocessing."""
    loss: ItemLoss | None = None
    """The loss whose gradient is asked for, of the network's outputs and T's targets; None where it is another
    question."""

    def __call__(
        self, x: Tensor, params: Params | None = None, features: bool = False, training: bool = True
    ) -> Tensor:
        """The network's answer to ``x``, at ``params`` where given."""
        return self.network(
            self.params if params is None else params,
            self.buffers,
            x if self.before is None else self.before(x),
            features=features,
            training=training,
            ensemble=self.ensemble,
        )


@dataclass(frozen=True)
class Replay:
    """The training on S that S was made for, step by step, by SGD."""

    order: Tensor
    """The items (t, b) that each of t steps sees."""
    step_sizes: Tensor
    """The learning rate (t,) of each step."""
    momentum: float = 0.0


@dataclass(frozen=True)
class Citation:
    """A paper, as data."""

    key: str
    authors: str
    title: str
    venue: str
    year: int
    entry: str = "inproceedings"

    def bibtex(self) -> str:
        place = "booktitle" if self.entry == "inproceedings" else "journal"
        fields = {"author": self.authors, "title": self.title, place: self.venue, "year": str(self.year)}
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@{self.entry}{{{self.key},\n{body}}}"
