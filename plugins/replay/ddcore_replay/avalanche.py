"""Distilled memories in an Avalanche program: a buffer for its ReplayPlugin, and GDumb on it.

Importing this imports Avalanche; its warnings, and the filters that it sets, stay inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import CrossEntropyLoss
from torch.utils.data import Dataset, TensorDataset

from ddcore import plugin as dd
from ddcore_replay.distilled import Distilled, KeptDistilled, OnResize
from ddcore_replay.memory import Bounded, KeptBounded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks.utils import DataAttribute
    from avalanche.benchmarks.utils.classification_dataset import TaskAwareSupervisedClassificationDataset
    from avalanche.training.plugins.gdumb import GDumbPlugin
    from avalanche.training.storage_policy import ExemplarsBuffer


class DistilledBuffer(ExemplarsBuffer):
    """At most ``max_size`` distilled images, and ``nbytes`` bytes, condensed from each experience when it is over.

    ``recipe`` is the name of a method or a recipe; its images per class follow from the budget. What a recipe makes
    several items of counts as one image. For the stock plugin: ``ReplayPlugin(mem_size=n,
    storage_policy=DistilledBuffer(n, "dm", classes=10))``. Or it is another memory of this package, such as ``Olcgm``,
    which then has this budget.

    ``classes`` that are foreseen share the buffer from the start; with None those so far do, and as classes come images
    go, as ``on_resize`` says: the last of each class are dropped (``truncate``), or what is stored is condensed anew
    (``recondense``). T's items are taken under the evaluation transforms, and S is stored as networks take it, without
    transforms. ``flips`` says whether a mirrored image keeps its label.

    Items are as those of the benchmark are, so that they can stand in one batch: (input, class, task 0); (input,
    vector, task 0) of :class:`OneHot` data; (input, class, vector, task 0) of :func:`with_soft` data. Labels that are
    learned want one of the last two, and :meth:`criterion`.

    Raises:
        RecipeRefused: in a sentence, where the benchmark or the budget cannot be served.
    """

    def __init__(
        self,
        max_size: int,
        recipe: str | dd.Recipe | Bounded = "dm",
        *,
        nbytes: int | None = None,
        classes: int | None = None,
        on_resize: OnResize = "truncate",
        overrides: Mapping[str, Any] | None = None,
        flips: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(max_size)
        self.flips, self.seed, self.device = flips, seed, device
        self.host = dd.Host()
        self.memory: KeptBounded | None = None
        self.loss = "cross_entropy"
        """What the labels are made for: ``cross_entropy``, or ``squared``."""
        if isinstance(recipe, Bounded):
            if nbytes is not None:
                raise dd.RecipeRefused(
                    f"nbytes is a budget for what is stored at a byte a value; {recipe.label} keeps the benchmark's"
                    " floats: give max_size alone."
                )
            if classes is not None or overrides:
                raise dd.RecipeRefused(
                    f"classes and overrides are for recipes, and {recipe.label} is a memory: set its own fields."
                )
            self.plan: Bounded = replace(recipe, size=max_size, nbytes=None)
            return
        name = recipe if isinstance(recipe, str) else recipe.name
        self.plan = Distilled(max_size, nbytes, name, dict(overrides or {}), classes, on_resize)
        self.recipe = self.plan.recipe(self.host)
        if isinstance(recipe, dd.Recipe):
            self.recipe = lambda ipc: replace(recipe, synthetic=replace(recipe.synthetic, ipc=ipc))
        labels = self.recipe(1).labels
        if isinstance(labels, dd.Vectors):
            self.loss = labels.loss

    @property
    def nbytes(self) -> int:
        """Bytes that must be stored to have it."""
        return 0 if self.memory is None else self.memory.nbytes

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss () that its labels are made for, of outputs (n, k) and vectors (n, k) or classes (n,)."""
        if self.loss == "cross_entropy":
            return dd.cross_entropy(outputs, targets).mean()
        if targets.ndim == 1:
            targets = torch.eye(outputs.shape[1])[targets]
        return dd.squared(outputs, targets).mean()

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """What Avalanche's plugins call; theirs would set a warnings filter of its own."""
        self.post_adapt(strategy, strategy.experience)

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Condense ``exp``."""
        inputs, targets = items(exp)
        width = vector_width(exp.dataset)
        if self.loss != "cross_entropy" and isinstance(getattr(agent_state, "_criterion", None), CrossEntropyLoss):
            raise dd.RecipeRefused(
                "The labels of this recipe are made for squared errors, and the strategy's criterion is"
                " CrossEntropyLoss: build it with criterion=buffer.criterion."
            )
        counts = torch.bincount(targets, minlength=width)
        if self.memory is None:
            names = tuple(map(str, range(len(counts))))
            card = dd.DataCard("the stream", tuple(inputs.shape[1:]), len(counts), (), self.flips, names)
            self.memory = self._begun(card)
        if isinstance(self.memory, KeptDistilled):
            self.memory.soft = width > 0
        known = max(self.memory.card.classes, len(counts))
        self.memory.card = replace(self.memory.card, classes=known, class_names=tuple(map(str, range(known))))
        self.memory.learn(dd.Store.of(inputs, targets, known))
        self._changed(exp.dataset)

    def resize(self, strategy: Any, new_size: int) -> None:
        """Have room for ``new_size`` images from now on."""
        self.max_size = new_size
        self.plan = replace(self.plan, size=new_size)
        if self.memory is not None:
            self.memory.resize(new_size)
            self._changed(self.buffer)

    def _begun(self, card: dd.DataCard) -> KeptBounded:
        if isinstance(self.plan, Distilled):
            return KeptDistilled(self.plan, card, self.recipe, self.seed, self.device, self.host)
        return self.plan.build(card, self.seed, self.device, self.host)

    def _changed(self, like: Any) -> None:
        memory = self.memory
        assert memory is not None
        width, apart = vector_width(like), hasattr(like, SOFT)
        batch = memory.store.take(torch.arange(len(memory.store)))
        vectors = batch.targets
        if width:
            vectors = memory.vectors if isinstance(memory, KeptDistilled) else torch.eye(width)[batch.targets]
        classes = batch.targets.tolist()
        attributes = [_attribute(classes, "targets")]
        if apart:
            attributes.append(_attribute(list(vectors), SOFT, True))
        attributes.append(_attribute([0] * len(classes), "targets_task_labels", True))
        data = TensorDataset(batch.inputs, batch.targets if apart else vectors)
        self.buffer = TaskAwareSupervisedClassificationDataset([data], data_attributes=attributes)


def _attribute(values: Any, name: str, shown: bool = False) -> DataAttribute:
    """``values``, one per item, as Avalanche keeps them beside the items; part of each item where ``shown``."""
    return DataAttribute(values, name, use_in_getitem=shown)


# --- labels that are vectors -----------------------------------------------------------------------------

SOFT = "soft"
"""The attribute of an Avalanche data set that holds labels as vectors, beside the classes."""


class OneHot(Dataset[tuple[Any, Tensor]]):
    """``dataset``, which has ``targets``, with its classes as vectors: for ``class_incremental_benchmark``.

    Batches are (input, vector, task 0), so any strategy trains on them, with a criterion that takes vectors.
    """

    def __init__(self, dataset: Any, classes: int) -> None:
        self.dataset, self.classes = dataset, classes
        self.targets = [int(target) for target in dataset.targets]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        return self.dataset[index][0], torch.eye(self.classes)[self.targets[index]]


def with_soft(dataset: Any, classes: int) -> TaskAwareSupervisedClassificationDataset:
    """``dataset``, which has ``targets``, with its classes as vectors beside them, for any benchmark.

    Batches are (input, class, vector, task 0); the strategy has :class:`SoftCriterion` before its own class.
    """
    targets = [int(target) for target in dataset.targets]
    attributes = [
        _attribute(targets, "targets"),
        _attribute(list(torch.eye(classes)[targets]), SOFT, True),
        _attribute([0] * len(targets), "targets_task_labels", True),
    ]
    return TaskAwareSupervisedClassificationDataset([dataset], data_attributes=attributes)


class SoftCriterion:
    """Trains a strategy on the vectors of :func:`with_soft` data: ``class SoftNaive(SoftCriterion, Naive): pass``."""

    _criterion: Callable[[Tensor, Tensor], Tensor]
    mbatch: Any
    mb_output: Any
    mb_y: Any
    is_training: bool

    def criterion(self) -> Tensor:
        return self._criterion(self.mb_output, self.mbatch[2] if self.is_training else self.mb_y)


def vector_width(dataset: Any) -> int:
    """How many values the labels of its items have as vectors; 0 where they are classes."""
    label = dataset[0][2 if hasattr(dataset, SOFT) else 1]
    return len(label) if isinstance(label, Tensor) and label.ndim == 1 else 0


# --- what the host hands over ----------------------------------------------------------------------------


def items(exp: Any) -> tuple[Tensor, Tensor]:
    """Inputs (n, ...) and classes (n,) of an experience, under its evaluation transforms.

    Raises:
        RecipeRefused: there are none, they are not float tensors of one shape with a class each, or they have tasks.
    """
    dataset = exp.dataset
    if not len(dataset):
        raise dd.RecipeRefused(f"Experience {exp.current_experience} has no items: there is nothing to condense.")
    if tasks := {int(t) for t in getattr(dataset, "targets_task_labels", ())} - {0}:
        raise dd.RecipeRefused(
            f"The benchmark has task labels ({min(tasks)} in experience {exp.current_experience}): a distilled buffer"
            " is for class-incremental benchmarks, whose items all have task 0 (task_labels=False)."
        )
    seen = dataset.eval()
    first = seen[0]
    if len(first) != 3 + hasattr(dataset, SOFT):
        raise dd.RecipeRefused(
            f"Items of the benchmark have {len(first)} entries; a distilled buffer makes three: input, class, task 0;"
            " and a vector after the class where the data are of ddcore_replay.avalanche.with_soft."
        )
    inputs = [seen[i][0] for i in range(len(seen))]
    kinds = {str(x.dtype) if isinstance(x, Tensor) else type(x).__name__ for x in inputs}
    shapes = {tuple(x.shape) for x in inputs if isinstance(x, Tensor)}
    if kinds != {"torch.float32"} or len(shapes) != 1:
        raise dd.RecipeRefused(
            f"Under the evaluation transforms items are {', '.join(sorted(kinds))} of the shapes"
            f" {sorted(shapes)}: give the benchmark an eval_transform that makes float32 tensors of one shape, as"
            " ToTensor does."
        )
    if any(not isinstance(y, int) for y in map(_plain, dataset.targets)):
        raise dd.RecipeRefused("The benchmark's targets are not classes: a distilled buffer wants one number each.")
    return torch.stack(inputs), torch.tensor([_plain(y) for y in dataset.targets])


def _plain(target: Any) -> Any:
    return target.item() if isinstance(target, Tensor) and not target.ndim else target


class DistilledGDumb(GDumbPlugin, supports_distributed=False):
    """GDumb (Prabhu et al., ECCV 2020) on a distilled buffer, the protocol of DC and DM: in each experience the model
    begins anew and is trained on what has been condensed so far, this experience included, and nothing else.

    A plugin for ``Naive``.
    """

    def __init__(self, buffer: DistilledBuffer) -> None:
        super().__init__(buffer.max_size)
        self.storage_policy = buffer
