"""Distilled memories in an Avalanche program: a buffer for its ReplayPlugin, and GDumb on it.

Importing this imports Avalanche; its warnings, and the filters that it sets, stay inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import TensorDataset

import ddcore
from ddcore_replay.distilled import Distilled, KeptDistilled, OnResize

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks.utils import DataAttribute
    from avalanche.benchmarks.utils.classification_dataset import TaskAwareSupervisedClassificationDataset
    from avalanche.training.plugins.gdumb import GDumbPlugin
    from avalanche.training.storage_policy import ExemplarsBuffer


class DistilledBuffer(ExemplarsBuffer):
    """At most ``max_size`` distilled images, condensed from each experience when it is over; labels are classes.

    ``recipe`` is the name of a method or a recipe; its images per class follow from the budget. For the stock plugin:
    ``ReplayPlugin(mem_size=n, storage_policy=DistilledBuffer(n, "dm", classes=10))``.

    ``classes`` that are foreseen share the buffer from the start; with None those so far do, and as classes come images
    go, as ``on_resize`` says: the last of each class are dropped (``truncate``), or what is stored is condensed anew
    (``recondense``). T's items are taken under the evaluation transforms, and S is stored as networks take it, without
    transforms. ``flips`` says whether a mirrored image keeps its label.

    Raises:
        RecipeRefused: in a sentence, where the benchmark or the budget cannot be served.
    """

    def __init__(
        self,
        max_size: int,
        recipe: str | ddcore.Recipe = "dm",
        *,
        classes: int | None = None,
        on_resize: OnResize = "truncate",
        overrides: Mapping[str, Any] | None = None,
        flips: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(max_size)
        name = recipe if isinstance(recipe, str) else recipe.name
        self.plan = Distilled(max_size, None, name, dict(overrides or {}), classes, on_resize)
        self.recipe, self.flips, self.seed, self.device = recipe, flips, seed, device
        self.host = ddcore.Host()
        self.memory: KeptDistilled | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that must be stored to have it."""
        return 0 if self.memory is None else self.memory.nbytes

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """What Avalanche's plugins call; theirs would set a warnings filter of its own."""
        self.post_adapt(strategy, strategy.experience)

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Condense ``exp``."""
        inputs, targets = items(exp)
        counts = torch.bincount(targets)
        if self.memory is None:
            card = ddcore.DataCard("experience", tuple(inputs.shape[1:]), len(counts), (), self.flips)
            self.memory = self._begun(card)
        known = max(self.memory.card.classes, len(counts))
        self.memory.card = replace(self.memory.card, classes=known)
        self.memory.learn(ddcore.Store.of(inputs, targets, known))
        self._changed()

    def resize(self, strategy: Any, new_size: int) -> None:
        """Have room for ``new_size`` images from now on."""
        self.max_size = new_size
        self.plan = replace(self.plan, size=new_size)
        if self.memory is not None:
            self.memory.resize(new_size)
            self._changed()

    def _begun(self, card: ddcore.DataCard) -> KeptDistilled:
        recipe = self.recipe
        if isinstance(recipe, str):
            return self.plan.build(card, self.seed, self.device, self.host)

        def of_size(ipc: int) -> ddcore.Recipe:
            return replace(recipe, synthetic=replace(recipe.synthetic, ipc=ipc))

        return KeptDistilled(self.plan, card, of_size, self.seed, self.device, self.host)

    def _changed(self) -> None:
        assert self.memory is not None
        store = self.memory.store
        targets = store.targets.tolist()
        self.buffer = TaskAwareSupervisedClassificationDataset(
            [TensorDataset(store.inputs, store.targets)],
            data_attributes=[
                DataAttribute(targets, "targets"),
                DataAttribute([0] * len(targets), "targets_task_labels", use_in_getitem=True),
            ],
        )


def items(exp: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (n, ...) and classes (n,) of an experience, under its evaluation transforms.

    Raises:
        RecipeRefused: there are none, they are not float tensors of one shape with a class each, or they have tasks.
    """
    dataset = exp.dataset
    if not len(dataset):
        raise ddcore.RecipeRefused(f"Experience {exp.current_experience} has no items: there is nothing to condense.")
    if tasks := {int(t) for t in getattr(dataset, "targets_task_labels", ())} - {0}:
        raise ddcore.RecipeRefused(
            f"The benchmark has task labels ({min(tasks)} in experience {exp.current_experience}): a distilled buffer"
            " is for class-incremental benchmarks, whose items all have task 0 (task_labels=False)."
        )
    seen = dataset.eval()
    first = seen[0]
    if len(first) != 3:
        raise ddcore.RecipeRefused(
            f"Items of the benchmark have {len(first)} entries; a distilled buffer makes three: input, class, task 0."
        )
    inputs = [seen[i][0] for i in range(len(seen))]
    kinds = {str(x.dtype) if isinstance(x, torch.Tensor) else type(x).__name__ for x in inputs}
    shapes = {tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)}
    if kinds != {"torch.float32"} or len(shapes) != 1:
        raise ddcore.RecipeRefused(
            f"Under the evaluation transforms items are {', '.join(sorted(kinds))} of the shapes"
            f" {sorted(shapes)}: give the benchmark an eval_transform that makes float32 tensors of one shape, as"
            " ToTensor does."
        )
    if any(not isinstance(y, int) for y in map(_plain, dataset.targets)):
        raise ddcore.RecipeRefused("The benchmark's targets are not classes: a distilled buffer wants one number each.")
    return torch.stack(inputs), torch.tensor([_plain(y) for y in dataset.targets])


def _plain(target: Any) -> Any:
    return target.item() if isinstance(target, torch.Tensor) and not target.ndim else target


class DistilledGDumb(GDumbPlugin, supports_distributed=False):
    """GDumb (Prabhu et al., ECCV 2020) on a distilled buffer, the protocol of DC and DM: in each experience the model
    begins anew and is trained on what has been condensed so far, this experience included, and nothing else.

    A plugin for ``Naive``.
    """

    def __init__(self, buffer: DistilledBuffer) -> None:
        super().__init__(buffer.max_size)
        self.storage_policy = buffer
