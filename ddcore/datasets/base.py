"""What every data set is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ddcore.data import RealData
from ddcore.errors import BadData
from ddcore.parts import Part

SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train", "training"), "test": ("test", "testing"), "validation": ("val", "valid", "validation")}
)
"""What each split may be called in files."""
UNPACKED = 64 * 2**20
"""Bytes that any compressed file may unpack to."""
RATIO = 20
"""Times its own bytes that a compressed file may unpack to."""


class DataSet(Part, kind="data"):
    """Where real data come from."""

    @abstractmethod
    def load(self) -> RealData:
        """Raises BadData where the files are missing or cannot be used."""

    def item_kind(self) -> str:
        """The kind of its items, known before it is loaded: ``image`` where nothing else is said."""
        return "image"


def check_unpacked(path: Path, packed: int, unpacked: int, allowed: int | None = None) -> None:
    """Refuse a file whose ``packed`` bytes say that they unpack to more than are ``allowed``.

    By default :data:`UNPACKED` bytes, or :data:`RATIO` times the packed ones where that is more.

    Raises:
        BadData: with what to do where the file is meant so.
    """
    limit = max(UNPACKED, RATIO * packed) if allowed is None else allowed
    if unpacked > limit:
        raise BadData(
            f"{path} unpacks from {packed} bytes to {unpacked}, of which at most {limit} are read. If it is meant so,"
            " save it unpacked, or allow more bytes with memory= where the data set has that field."
        )
