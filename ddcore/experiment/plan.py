"""What one experiment file says: a recipe, its data, its protocol, its baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from ddcore.bounds import OpenShare
from ddcore.catalogue import Catalogue
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.datasets.base import DataSet, as_read
from ddcore.errors import RecipeRefused
from ddcore.evaluation.protocol import Protocol
from ddcore.kinds import kind_named
from ddcore.packing import dotted, from_dict, parse_toml, to_dict
from ddcore.parts import Part

Baseline = Literal["random", "herding", "el2n", "whole"]
"""What a result can stand beside: methods that choose real items, and T itself."""
BASELINES: tuple[Baseline, ...] = ("random", "herding", "whole")
"""What every result stands beside, under the same protocol."""


@dataclass(frozen=True)
class Settings(Part, kind="settings"):
    """What an experiment needs beside its recipe."""

    data: DataSet
    """What is distilled."""
    protocol: Protocol = Protocol()
    """How networks are trained on the distilled set and on the baselines, and what is measured of them."""
    baselines: tuple[Baseline, ...] | None = None
    """None: random, herding and whole, or none where the recipe's gate guards T, past which they look."""
    equal: Literal["ipc", "bytes"] = "ipc"
    """What a baseline that chooses has in common with the set: its items per class, or, as near as whole items come,
    the bytes that it takes to store it."""
    validation: OpenShare | None = None
    """Share of T set aside before anything is distilled, for choosing among a protocol's learning rates."""

    def faults(self) -> Iterator[str]:
        if self.baselines and len(set(self.baselines)) < len(self.baselines):
            yield f"baselines holds the same one twice: {', '.join(self.baselines)}"

    def load(self, seed: int) -> RealData:
        """The data, with the validation split that is asked for, drawn from ``seed``."""
        data = as_read(self.data)
        return data if self.validation is None else data.with_validation(self.validation, seed)

    def baselines_of(self, recipe: Recipe) -> tuple[str, ...]:
        """The baselines with which what ``recipe`` makes is compared."""
        return self.baselines if self.baselines is not None else () if recipe.gate.guards else BASELINES

    def suited(self, catalogue: Catalogue) -> Settings:
        """These settings with what of their protocol does not suit the items of their data in the place of defaults."""
        return replace(self, protocol=kind_named(self.data.item_kind(), catalogue).adapted(self.protocol))


@dataclass(frozen=True)
class Experiment:
    """A recipe with its settings: what one recipe file says."""

    recipe: Recipe
    settings: Settings

    def folder(self) -> Path:
        """Where it goes unless it is told: ``runs/DATA-METHOD-ipcIPC-SEED``."""
        root = getattr(self.settings.data, "root", None)
        own = self.settings.data.part_name() in ("npz", "image_folder")
        data = Path(root).stem if own and root else self.settings.data.part_name()
        return Path("runs") / f"{data}-{self.recipe.name}-ipc{self.recipe.ipc}-{self.recipe.seed}"

    def differing(self, other: Experiment) -> dict[str, tuple[Any, Any]]:
        """The fields, by dotted path, in which the two differ, with both values."""
        mine, theirs = (dotted({**to_dict(one.recipe), "experiment": to_dict(one.settings)}) for one in (self, other))
        return {
            path: (mine.get(path), theirs.get(path))
            for path in {**mine, **theirs}
            if mine.get(path) != theirs.get(path)
        }

    def to_toml(self) -> str:
        """The recipe's fields, with the settings in a table ``[experiment]``."""
        return tomli_w.dumps({**to_dict(self.recipe), "experiment": to_dict(self.settings)})

    @staticmethod
    def from_toml(text: str, catalogue: Catalogue, where: str = "the recipe file") -> Experiment:
        """Raises RecipeRefused or UnknownName where the text is not an experiment."""
        table = parse_toml(text, where)
        if "experiment" not in table:
            raise RecipeRefused(f"{where} names no data: add [experiment.data] with a name.")
        written = table.pop("experiment")
        settings = from_dict(Settings, written, catalogue, "experiment")
        if "protocol" not in written:
            settings = settings.suited(catalogue)
        return Experiment(Recipe.from_table(table, catalogue), settings)
