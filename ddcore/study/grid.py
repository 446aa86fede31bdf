"""A grid: methods by images per class by seeds."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

from ddcore.bounds import Count, Whole
from ddcore.datasets.base import DataSet
from ddcore.datasets.digits import Digits
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.plan import Baseline, Experiment, Settings
from ddcore.host import Host
from ddcore.study.base import overrides_of
from ddcore.study.experiments import Experiments


@dataclass(frozen=True)
class Grid(Experiments):
    """Each method at each number of images per class with each seed, on one data set under one protocol."""

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "ipcs", "seeds", "baselines"})

    data: DataSet = field(default_factory=Digits)
    """What is distilled."""
    methods: tuple[str, ...] = ("random", "herding", "dm")
    """By name: ``ddcore list methods``."""
    ipcs: tuple[Count, ...] = (1,)
    """Images per class."""
    seeds: tuple[Whole, ...] = (0,)
    """One run with each."""
    iterations: Count | None = None
    """Updates, of the methods that make any; None for each method's own number."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipes by dotted path, in a table for each method: ``dm = {"objective.real" = 64}``; in that named
    ``all`` those of every method, which its own table may change."""
    protocol: Protocol = field(default_factory=Protocol)
    """How networks are trained on what comes out."""
    baselines: tuple[Baseline, ...] = ()
    """What stands beside the sets of the first method."""

    def faults(self) -> Iterator[str]:
        if not self.methods or not self.ipcs or not self.seeds:
            yield "A grid needs at least one method, one number of images per class and one seed"

    def experiments(self, host: Host) -> list[Experiment]:
        found = []
        for ipc, method, seed in product(self.ipcs, self.methods, self.seeds):
            takes = inspect.signature(host.catalogue.find("method", method).maker).parameters
            given: dict[str, Any] = {"ipc": ipc}
            if self.iterations is not None and "iterations" in takes:
                given["iterations"] = self.iterations
            changes = {**overrides_of(method, self.overrides, host), "seed": seed}
            recipe = host.recipe(method, kind=self.data.item_kind(), overrides=changes, **given)
            baselines = self.baselines if method == self.methods[0] else ()
            found.append(Experiment(recipe, Settings(self.data, self.protocol, baselines)))
        return found
