"""What every data set is."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from ddcore.data import RealData, Split
from ddcore.errors import BadData
from ddcore.parts import Part
from ddcore.store import Inputs, Store, picked, split_rows

HELD_OUT = 0.1
"""Share of the items that is the test split where a data set brings none."""


class DataSet(Part, kind="data"):
    """Where real data come from."""

    @abstractmethod
    def load(self) -> RealData:
        """Raises BadData where the files are missing or cannot be used."""


def held_out(name: str, images: Inputs, labels: Tensor) -> tuple[Split, Split]:
    """Train and test of a set that came in one piece: a stratified tenth, always the same, is the test split.

    Raises:
        BadData: no class has enough items to give one.
    """
    store = Store.of(images, labels, int(labels.max()) + 1)
    held, kept = (store.order[rows].sort().values for rows in split_rows(store, HELD_OUT, seed=0))
    if not len(held):
        raise BadData(
            f"{name} has no test split, and its largest class has {max(store.counts)} items: too few to set a tenth"
            " aside. Bring a test split."
        )
    return (picked(images, kept), labels[kept]), (picked(images, held), labels[held])
