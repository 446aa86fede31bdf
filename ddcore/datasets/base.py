"""What every data set is."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from ddcore.data import RealData
from ddcore.errors import BadData, DdcoreError
from ddcore.packing import packed
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


class Readings:
    """The data set that was read last for one study, for whoever asks for it next.

    Sent to another process, it is what that process reads for the study.
    """

    def __init__(self, study: str = "") -> None:
        self.study = study or uuid4().hex
        self._said = ""
        self._data: RealData | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_worker, (self.study,)

    def load(self, plan: DataSet) -> RealData:
        """What :func:`loaded` answers."""
        if self._data is None or self._said != written(plan):
            self._data = None  # two would be in memory while the next one is read
            self._data, self._said = _loaded(plan), written(plan)
        return self._data


@lru_cache(maxsize=1)
def _of_worker(study: str) -> Readings:
    return Readings(study)


def written(data: DataSet) -> str:
    """What the plan says, as one text."""
    return json.dumps(packed(data), sort_keys=True, default=str)


_OF_PROCESS = Readings()
_OF_STUDY: ContextVar[Readings | None] = ContextVar("readings of a study", default=None)


@contextmanager
def reading(readings: Readings) -> Iterator[Readings]:
    """The work of a study, in which a data set is the same for all who load it: its cases and their experiments."""
    token = _OF_STUDY.set(readings)
    try:
        yield readings
    finally:
        _OF_STUDY.reset(token)


def loaded(data: DataSet) -> RealData:
    """``data``, read once for all cases that use it one after another: by each study anew, else once in a process.

    Raises:
        BadData: its files are missing or cannot be used.
    """
    return (_OF_STUDY.get() or _OF_PROCESS).load(data)


def as_read(data: DataSet) -> RealData:
    """``data`` as the study at work has read it; outside a study, as it is now."""
    readings = _OF_STUDY.get()
    return data.load() if readings is None else readings.load(data)


def _loaded(data: DataSet) -> RealData:
    try:
        return data.load()
    except DdcoreError:
        raise
    except Exception as error:  # the data set's own code: anything may come out of it
        raise BadData(
            f"{data.part_name()} cannot be loaded ({type(error).__name__}: {error}). Correct its root or its other"
            " fields."
        ) from error


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
