"""What every data set is."""

from __future__ import annotations

from abc import abstractmethod

from ddcore.data import RealData, Split
from ddcore.errors import BadData
from ddcore.parts import Part
from ddcore.store import Store, split_rows

HELD_OUT = 0.1
"""Share of the items that is the test split where a data set brings none."""


class DataSet(Part, kind="data"):
    """Where real data come from."""

    @abstractmethod
    def load(self) -> RealData:
        """Raises BadData where the files are missing or cannot be used."""

    def item_kind(self) -> str:
        """The kind of its items, known before it is loaded: ``image`` where nothing else is said."""
        return "image"


def held_out(name: str, store: Store) -> tuple[Split, Split]:
    """Train and test of a set that came in one piece: a stratified tenth, always the same, is the test split.

    Raises:
        BadData: no class has enough items to give one.
    """
    held, kept = (store.subset(rows) for rows in split_rows(store, HELD_OUT, seed=0))
    if not len(held):
        raise BadData(
            f"{name} has no test split, and its largest class has {max(store.counts)} items: too few to set a tenth"
            " aside. Bring a test split."
        )
    return (kept.inputs, kept.targets), (held.inputs, held.targets)
